#!/bin/sh
# Install what package-lock.json of a directory pins into another one. Without npm or its registry, say so and go on.
#   scripts/javascript.sh DIRECTORY SOURCE
set -eu

directory=$1 source=$2
export npm_config_cache="$PWD/.cache/npm"
# node trusts only its own certificates, unless told to trust what the system and other tools trust.
export NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}"

if ! command -v npm > /dev/null || ! command -v node > /dev/null; then
    echo "== $directory: skipped the JavaScript SDK, since node and npm are not installed"
    exit 0
fi
if [ "$directory/.ready" -nt "$source/package-lock.json" ]; then
    exit 0
fi
rm -rf "$directory"
mkdir -p "$directory"
if ! npm ping --fetch-retries 0 --fetch-timeout 20000 > /dev/null 2>&1; then
    echo "== $directory: skipped the JavaScript SDK, since npm's registry does not answer"
    exit 0
fi
echo "== $directory: installing $source/package-lock.json (node $(node --version))"
cp "$source/package.json" "$source/package-lock.json" "$directory"
if ! npm ci --prefix "$directory" --no-audit --no-fund --ignore-scripts --loglevel error; then
    rm -rf "$directory"
    echo "== $directory: skipped the JavaScript SDK, since npm could not install it: its error is above"
    exit 0
fi
touch "$directory/.ready"
