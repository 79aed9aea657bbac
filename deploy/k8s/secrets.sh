#!/bin/sh
# Prints the Secrets that the manifests refer to, from an environment as deploy/environment.sh makes it:
#
#     (umask 077; sh deploy/environment.sh > .env)
#     sh deploy/k8s/secrets.sh .env | kubectl apply --filename -
#
# For a cluster that has no store of secrets. With one (External Secrets, Sealed Secrets, Vault) these are the names and
# keys to fill. Nobody gets a secret that is not theirs. POSTGRES_HOST names another Postgres.
set -eu

# shellcheck disable=SC1090
. "$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
host=${POSTGRES_HOST:-darkroom-rw.postgres.svc.cluster.local:5432}

# Every value in quotes: YAML would take some digits for a number. None of them holds a quote.
secret() { # namespace name [type]
  printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n' "$2" "$1"
  printf 'type: %s\nstringData:\n' "${3:-Opaque}"
}
entry() { # key value
  [ -z "$2" ] || printf '  %s: "%s"\n' "$1" "$2"
}
address() { # role password
  printf 'postgresql://%s:%s@%s/darkroom' "$1" "$2" "$host"
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
}

secret darkroom gateway
entry GATEWAY_DATABASE_URL "$(address gateway "$GATEWAY_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$GATEWAY_NATS_PASSWORD"
entry SUPABASE_JWT_SECRET "${SUPABASE_JWT_SECRET:-}"
entry JWT_SECRET "${JWT_SECRET:-}"
entry SESSION_SECRET "${SESSION_SECRET:-}"
entry MEDIA_SIGNING_KEY "${MEDIA_SIGNING_KEY:-}"

secret darkroom generator
entry GENERATOR_DATABASE_URL "$(address generator "$GENERATOR_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$GENERATOR_NATS_PASSWORD"
# With the simulator the keys are no secret, and its overlay has them.
if [ "${COMPOSE_PROFILES:-}" != simulator ]; then
  entry ARK_API_KEY "${ARK_API_KEY:-}"
  entry OPENAI_API_KEY "${OPENAI_API_KEY:-}"
fi

secret darkroom storage
entry STORAGE_DATABASE_URL "$(address storage "$STORAGE_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$STORAGE_NATS_PASSWORD"
entry MEDIA_SIGNING_KEY "${MEDIA_SIGNING_KEY:-}"
objects

secret darkroom ledger
entry LEDGER_DATABASE_URL "$(address ledger "$LEDGER_DATABASE_PASSWORD")"
entry NATS_PASSWORD "$LEDGER_NATS_PASSWORD"

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
printf '  seaweedfs_s3_config: |\n    {"identities": [{"name": "darkroom", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}\n' \
  "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"
