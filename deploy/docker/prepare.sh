#!/bin/sh
# Makes what the containers of compose.yaml share in /state, and the broker's lanes. What is there already stays.
# The token in /state/token opens every grid: docker compose exec gateway1 cat /state/token
set -eu
umask 077
cd "${SLUICEWAY_STATE:-/state}"
url=${SLUICEWAY_BROKER_URL:-amqp://sluiceway@rabbitmq:5672}

printf '%s\n' "$SLUICEWAY_BROKER_PASSWORD" >broker-password

if [ ! -e certificate.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=sluiceway \
        -addext subjectAltName=DNS:localhost,DNS:gateway1,DNS:gateway2,IP:127.0.0.1 -keyout certificate.key -out certificate.draft
    mv certificate.draft certificate.pem
fi

[ -e keys.json ] || sluiceway keys create keys.json

if [ ! -e token ]; then
    rm -f tokens.json
    sluiceway token create compose --file tokens.json >token.draft
    mv token.draft token
fi

sluiceway broker setup --cluster RNDBCARDI_PROD --lanes 64 --url "$url" --password-file broker-password
