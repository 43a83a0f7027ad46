#!/usr/bin/env bash
# Builds the container image without network: fetches the packages of the lock file into .npm-cache first, then builds with
# --network=none. Usage: experiments/cluster/image.sh [tag]      NODE_IMAGE names another base with Node 24.
#        experiments/cluster/image.sh --install FOLDER           no container: what the Dockerfile does, into a folder
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# What git has, and nothing else.
git -C "$root" archive HEAD | tar -x -C "$context"
# Packages are kept under the addresses of the registry that they came from.
echo "registry=$(npm config get registry)" >>"$context/.npmrc"
npm ci --prefix "$context" --cache "$context/.npm-cache" --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
rm -rf "$context/node_modules"
if [ "${1-}" = --install ]; then
  mkdir -p "$2" && cp -R "$context/." "$2"
  cd "$2"
  npm ci --offline --cache "$2/.npm-cache" --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error
  rm -rf .npm-cache
  exit
fi
docker build --network=none ${NODE_IMAGE:+--build-arg "NODE_IMAGE=$NODE_IMAGE"} \
  -f "$context/experiments/cluster/Dockerfile" -t "${1:-onefet}" "$context"
