#!/bin/sh
# Start Valkey with a user for each part of the service. Passwords come from the environment and go into
# a file in memory, so that no process list shows them.
set -eu
umask 077
users=${VALKEY_USERS:-/run/valkey/users.conf}
from=${VALKEY_FILES:-/etc/valkey}
cp "$from/users.conf" "$users"
for user in ADMIN FRONTEND WORKER WATCHER READER; do
  eval "password=\${${user}_PASSWORD:?set ${user}_PASSWORD}"
  case $password in
    *[!A-Za-z0-9_-]*)
      echo "the password of $user: letters, digits, - and _ only: it stands in addresses" >&2
      exit 2 ;;
  esac
  # By a file, not by an argument.
  printf 's/>%s-PASSWORD/>%s/\n' "$user" "$password" > "$users.sed"
  sed -i -f "$users.sed" "$users"
  # The server itself needs it no more.
  unset "${user}_PASSWORD"
done
rm -f "$users.sed"
unset REDISCLI_AUTH
exec "${VALKEY_SERVER:-valkey-server}" - <<EOF
include $from/redis.conf
include $users
bind ${REDIS_BIND:-* -::*}
port ${REDIS_PORT:-6379}
dir ${REDIS_DIR:-/data}
maxmemory ${REDIS_MAXMEMORY:-1gb}
EOF
