#!/bin/sh
# Prints an environment for docker-compose.yml with fresh secrets:
#
#     (umask 077; set -C; sh deploy/environment.sh > .env)
#
# It is made once. The passwords in it are those of the volumes that are filled with it.
set -eu

random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

cat <<END
# Read by docker-compose.yml. Keep it to yourself, and keep a copy: the data cannot be opened without it.

POSTGRES_PASSWORD=$(random)
GATEWAY_DATABASE_PASSWORD=$(random)
GENERATOR_DATABASE_PASSWORD=$(random)
STORAGE_DATABASE_PASSWORD=$(random)
LEDGER_DATABASE_PASSWORD=$(random)
# They begin with a letter: NATS would take some digits for a number.
GATEWAY_NATS_PASSWORD=n$(random)
GENERATOR_NATS_PASSWORD=n$(random)
STORAGE_NATS_PASSWORD=n$(random)
LEDGER_NATS_PASSWORD=n$(random)
TOPOLOGY_NATS_PASSWORD=n$(random)
OPERATOR_NATS_PASSWORD=n$(random)
AWS_ACCESS_KEY_ID=darkroom
AWS_SECRET_ACCESS_KEY=$(random)

# The key of users' tokens (HS256). With Supabase: the project's JWT secret.
SUPABASE_JWT_SECRET=$(random)

# The secrets of webhooks are derived from it; without it there are none.
WEBHOOK_SIGNING_KEY=$(random)

# Signs the addresses of what is its owner's alone. Without the second line all addresses are signed, and end.
MEDIA_SIGNING_KEY=$(random)
MEDIA_ADDRESSES=public

# Without a provider's key the simulator draws. With one: remove these seven lines and write ARK_API_KEY or
# OPENAI_API_KEY instead.
COMPOSE_PROFILES=simulator
ARK_API_KEY=simulated
ARK_BASE_URL=http://simulator:8080/ark/api/v3
OPENAI_API_KEY=simulated
OPENAI_BASE_URL=http://simulator:8080/openai/v1
OUTBOUND_ALLOW=simulator:8080
SIMULATOR_URL=http://simulator:8080

# Where clients find the gateway and the media. Published on this machine alone unless PUBLISH_ADDRESS says otherwise.
#PUBLISH_ADDRESS=127.0.0.1
#PUBLISH_GATEWAY_PORT=3001
#PUBLISH_MEDIA_PORT=3002
#PUBLIC_URL=http://127.0.0.1:3001
#PUBLIC_MEDIA_URL=http://127.0.0.1:3002

# Everything else that can be set stands in .env.example.
END
