#!/bin/sh
# Prints the Secrets that the manifests refer to, from an environment as deploy/environment.sh makes it:
#
#     (umask 077; set -C; sh deploy/environment.sh > .env)
#     sh deploy/k8s/secrets.sh .env | kubectl apply --filename -
#
# For a cluster that has no store of secrets. With one (External Secrets, Sealed Secrets, Vault) these are the names and
# keys to fill. Nobody gets a secret that is not theirs. POSTGRES_HOST names another Postgres.
set -eu

# shellcheck disable=SC1090
. "$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
host=${POSTGRES_HOST:-darkroom-rw.postgres.svc.cluster.local:5432}

# As `data`, in base64: any character arrives. `kubectl apply` takes a key away there whose line has gone; what was given
# as `stringData` it leaves.
secret() { # namespace name [type]
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n' "$2" "$1"
  printf 'type: %s\ndata:\n' "${3:-Opaque}"
}
entry() { # key value
  [ -z "$2" ] || printf '  %s: %s\n' "$1" "$(printf '%s' "$2" | base64 | tr -d '\n')"
}
given() { # keys, each with the value that it has in the environment
  for key in "$@"; do
    eval "value=\${$key:-}"
    entry "$key" "$value"
  done
}
address() { # role password
  password=$(printf '%s' "$2" | sed 's/%/%25/g; s/@/%40/g; s/:/%3A/g; s|/|%2F|g; s/?/%3F/g; s/#/%23/g; s/\[/%5B/g; s/]/%5D/g')
  printf 'postgresql://%s:%s@%s/darkroom' "$1" "$password" "$host"
}
json() { # value
  printf '%s' "$1" | sed 's/[\\"]/\\&/g'
}
addresses() {
  entry GATEWAY_DATABASE_URL "$(address gateway "$GATEWAY_DATABASE_PASSWORD")"
  entry GENERATOR_DATABASE_URL "$(address generator "$GENERATOR_DATABASE_PASSWORD")"
  entry STORAGE_DATABASE_URL "$(address storage "$STORAGE_DATABASE_PASSWORD")"
  entry LEDGER_DATABASE_URL "$(address ledger "$LEDGER_DATABASE_PASSWORD")"
}
objects() {
  entry AWS_ACCESS_KEY_ID "$AWS_ACCESS_KEY_ID"
  entry AWS_SECRET_ACCESS_KEY "$AWS_SECRET_ACCESS_KEY"
  given GCS_HMAC_KEY_ID GCS_HMAC_SECRET
  given SUPABASE_SERVICE_ROLE_KEY SUPABASE_ANON_KEY SUPABASE_S3_ACCESS_KEY_ID SUPABASE_S3_SECRET_ACCESS_KEY
}

secret darkroom gateway
entry GATEWAY_DATABASE_URL "$(address gateway "$GATEWAY_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$GATEWAY_NATS_PASSWORD"
given SUPABASE_JWT_SECRET JWT_SECRET SESSION_SECRET MEDIA_SIGNING_KEY WEBHOOK_SIGNING_KEY
given REQUEST_SIGNATURE_SECRET VIDEO_CALLBACK_SECRET

secret darkroom generator
entry GENERATOR_DATABASE_URL "$(address generator "$GENERATOR_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$GENERATOR_NATS_PASSWORD"
given GENERATOR_KEY_SECRETS
# With the simulator these two are no secret, and its overlay has them.
[ "${COMPOSE_PROFILES:-}" = simulator ] || given ARK_API_KEY OPENAI_API_KEY
given STABILITY_API_KEY FAL_KEY ANTHROPIC_API_KEY ELEVENLABS_API_KEY GEMINI_API_KEY GOOGLE_API_KEY RUNWAYML_API_SECRET
given REPLICATE_API_TOKEN FLOW_API_KEY OPENAI_COMPATIBLE_KEYS

secret darkroom storage
entry STORAGE_DATABASE_URL "$(address storage "$STORAGE_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$STORAGE_NATS_PASSWORD"
given MEDIA_SIGNING_KEY
objects

secret darkroom ledger
entry LEDGER_DATABASE_URL "$(address ledger "$LEDGER_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$LEDGER_NATS_PASSWORD"
given STRIPE_SECRET_KEY STRIPE_WEBHOOK_SECRET STRIPE_PUBLISHABLE_KEY

secret darkroom topology
entry NATS_PASSWORD "$TOPOLOGY_NATS_PASSWORD"

secret darkroom migrate
entry DATABASE_URL "$(address postgres "$POSTGRES_PASSWORD")"
addresses

secret darkroom operator
entry DATABASE_URL "$(address postgres "$POSTGRES_PASSWORD")"
entry NATS_PASSWORD "$OPERATOR_NATS_PASSWORD"
objects

secret nats nats-passwords
entry GATEWAY_NATS_PASSWORD "$GATEWAY_NATS_PASSWORD"
entry GENERATOR_NATS_PASSWORD "$GENERATOR_NATS_PASSWORD"
entry STORAGE_NATS_PASSWORD "$STORAGE_NATS_PASSWORD"
entry LEDGER_NATS_PASSWORD "$LEDGER_NATS_PASSWORD"
entry TOPOLOGY_NATS_PASSWORD "$TOPOLOGY_NATS_PASSWORD"
entry OPERATOR_NATS_PASSWORD "$OPERATOR_NATS_PASSWORD"

secret postgres darkroom-superuser kubernetes.io/basic-auth
entry username postgres
entry password "$POSTGRES_PASSWORD"

secret s3 s3-identities
entry seaweedfs_s3_config "$(printf '{"identities": [{"name": "darkroom", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}' \
  "$(json "$AWS_ACCESS_KEY_ID")" "$(json "$AWS_SECRET_ACCESS_KEY")")"
