#!/bin/sh
# Makes what the containers of compose.yaml share in /state, and the broker's lanes. What is there already stays.
set -eu
umask 077
cd /state

printf '%s\n' "$SLUICEWAY_BROKER_PASSWORD" >broker-password

if [ ! -e certificate.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=sluiceway \
        -addext subjectAltName=DNS:localhost,DNS:gateway1,DNS:gateway2,IP:127.0.0.1 -keyout certificate.key -out certificate.draft
    mv certificate.draft certificate.pem
fi

[ -e keys.json ] || sluiceway keys create keys.json

sluiceway broker setup --cluster RNDBCARDI_PROD --lanes 64 --url amqp://sluiceway@rabbitmq:5672 --password-file broker-password
