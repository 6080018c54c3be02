#!/bin/sh
# Makes secret.yaml: a kubernetes.io/tls Secret with a self-signed certificate for example.com.
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
  -subj /CN=example.com -addext subjectAltName=DNS:example.com \
  -keyout "$folder/tls.key" -out "$folder/tls.crt" 2>/dev/null
cat >secret.yaml <<YAML
# Made by make-secret.sh. The key is of no use to anyone: the certificate is self-signed.
apiVersion: v1
kind: Secret
metadata:
  name: tls-secret-name
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 <"$folder/tls.crt")
  tls.key: $(base64 -w0 <"$folder/tls.key")
YAML
