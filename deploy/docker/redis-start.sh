#!/bin/sh
# Start Redis with a password that no process list shows: the configuration goes
# in by standard input, not by arguments.
set -eu
: "${REDIS_PASSWORD:?set REDIS_PASSWORD}"
# Its files hold images: they are for its user alone.
umask 077
password=$REDIS_PASSWORD
# The server itself needs them no more.
unset REDIS_PASSWORD REDISCLI_AUTH
exec redis-server - <<EOF
include ${REDIS_CONF:-/etc/redis/redis.conf}
bind ${REDIS_BIND:-* -::*}
port ${REDIS_PORT:-6379}
dir ${REDIS_DIR:-/data}
maxmemory ${REDIS_MAXMEMORY:-2gb}
requirepass ${password}
EOF
