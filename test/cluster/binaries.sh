#!/usr/bin/env bash
# Prints the folder that holds etcd, kube-apiserver, kube-controller-manager, kube-proxy and kubectl.
# Only that folder goes to stdout; progress and errors go to stderr. Run as root.
#
#   KUBEBUILDER_ASSETS  a folder with these five binaries (any Kubernetes version): used as it stands.
#   CAUSEWAY_CACHE      where binaries built here are kept; default ${XDG_CACHE_HOME:-$HOME/.cache}/causeway.
#
# Without KUBEBUILDER_ASSETS, Kubernetes 1.20.2 is built from Debian 12's source package, once a machine
# (about six minutes on two cores). The sources and Go's build cache are removed afterwards.
set -euo pipefail

readonly version=1.20.2
readonly binaries=(etcd kube-apiserver kube-controller-manager kube-proxy kubectl)
readonly components=(kube-apiserver kube-controller-manager kube-proxy)
# Needed to run a cluster. setpriv and flock (util-linux) are in every Debian. pebble is Let's Encrypt's
# test CA, with a DNS server of its own.
readonly packages_to_run=(iproute2 iptables conntrack procps pebble)
readonly packages_to_build=(golang-go build-essential dpkg-dev rsync jq ca-certificates)

main() {
  install_missing "${packages_to_run[@]}"
  if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
    require_all_in "$KUBEBUILDER_ASSETS"
    echo "$KUBEBUILDER_ASSETS"
    return
  fi
  local cache=${CAUSEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/causeway}
  local folder=$cache/kubernetes-$version
  if [[ ! -d $folder ]]; then
    mkdir -p "$cache"
    exec 9>"$cache/.kubernetes-$version.lock"
    flock --nonblock 9 || { say "another process builds Kubernetes $version; waiting for it"; flock 9; }
    [[ -d $folder ]] || build_into "$folder" "$cache"
  fi
  require_all_in "$folder"
  echo "$folder"
}

# Builds in a temporary folder on the same file system and renames at the end: a folder of the final
# name is always complete, whatever was interrupted.
build_into() {
  local folder=$1 cache=$2
  building=$(mktemp -d "$cache/.building-XXXXXX")
  trap 'chmod -R u+w "$building" 2>/dev/null; rm -rf "$building"' EXIT
  chmod 755 "$building"
  install_missing "${packages_to_build[@]}"
  mkdir -p "$building/out" "$building/apt/lists/partial"
  fetch_packages etcd-server kubernetes-client
  fetch_source
  compile
  install -m 755 "$building/unpacked/usr/bin/etcd" "$building/unpacked/usr/bin/kubectl" "$building/out/"
  require_all_in "$building/out"
  mv -T "$building/out" "$folder"
  say "Kubernetes $version is in $folder"
}

# Unpacked, not installed: installing etcd-server would start an etcd service on the machine.
fetch_packages() {
  update_apt
  mkdir -p "$building/packages" "$building/unpacked"
  (cd "$building/packages" && apt-get -o APT::Sandbox::User=root download --quiet "$@" >&2)
  local package
  for package in "$building/packages"/*.deb; do dpkg-deb --extract "$package" "$building/unpacked"; done
}

# apt reads a source list of our own, so the machine's configuration stays as it was.
fetch_source() {
  local list=$building/apt/deb-src.list
  list_source_archives >"$list"
  [[ -s $list ]] || fail "no apt source of Debian bookworm found under /etc/apt: set KUBEBUILDER_ASSETS instead"
  local apt=(apt-get --quiet
    -o Dir::Etc::SourceList="$list" -o Dir::Etc::SourceParts=-
    -o Dir::State::Lists="$building/apt/lists" -o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache=
    -o APT::Sandbox::User=root)
  mkdir -p "$building/source"
  say "fetching the source of Kubernetes $version"
  "${apt[@]}" update >&2
  local source_version
  source_version=$("${apt[@]}" source --print-uris kubernetes | grep -o 'kubernetes_[^/ ]*\.dsc' | head -n 1)
  # Debian names it 1.20.5+really1.20.2-1.1 (with %2b for the plus signs in an address).
  [[ $source_version =~ (_|really)${version//./\\.}- ]] ||
    fail "the archive has '$source_version', not Kubernetes $version (Debian 12 has): set KUBEBUILDER_ASSETS instead"
  (cd "$building/source" && "${apt[@]}" source kubernetes >&2)
}

compile() {
  local tree
  tree=$(find "$building/source" -mindepth 1 -maxdepth 1 -type d)
  say "building ${components[*]} $version; this takes some minutes"
  # Go's caches go to the temporary folder, so that nothing is left behind in the home folder.
  GOCACHE=$building/go-cache GOFLAGS=-mod=vendor \
    KUBE_GIT_VERSION=v$version KUBE_GIT_COMMIT=x KUBE_GIT_TREE_STATE=clean CGO_ENABLED=0 \
    make -C "$tree" WHAT="${components[*]/#/cmd/}" >&2
  local component
  for component in "${components[@]}"; do
    strip -o "$building/out/$component" "$tree/_output/local/go/bin/$component"
  done
}

# Source entries for the archives that the machine's own apt sources name for this release. Debian's own
# part is `main`; what others publish for it has names of its own.
list_source_archives() {
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -r $file ]] || continue
    sed -nE 's/^[[:space:]]*deb[[:space:]]+((\[[^]]*\][[:space:]]+)?[^[:space:]]+[[:space:]]+bookworm[[:space:]]+main([[:space:]].*)?)$/deb-src \1/p' "$file"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [[ -r $file ]] || continue
    awk '
      function emit(  n, i, list, options) {
        n = split(suites, list, " ")
        options = signed_by == "" ? "" : "[signed-by=" signed_by "] "
        for (i = 1; i <= n; i++) if (list[i] == "bookworm" && parts ~ /(^| )main( |$)/) print "deb-src " options uri " bookworm " parts
        uri = suites = parts = signed_by = ""
      }
      /^[[:space:]]*$/ { emit(); next }
      /^#/ { next }
      { value = $0; sub(/^[^:]*:[[:space:]]*/, "", value) }
      /^URIs:/ { split(value, uris, " "); uri = uris[1] }
      /^Suites:/ { suites = value }
      /^Components:/ { parts = value }
      # A key written out in the file itself continues on the next lines; only a path fits in one line.
      /^Signed-By:/ { if (value ~ /^\//) signed_by = value }
      END { emit() }
    ' "$file"
  done
}

install_missing() {
  local missing=() package
  for package in "$@"; do
    dpkg-query --show --showformat='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  [[ $(id -u) == 0 ]] || fail "these packages are missing and only root can install them: ${missing[*]}"
  command -v apt-get >/dev/null || fail "these are missing, and the machine has no apt: ${missing[*]}"
  update_apt
  say "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "${missing[@]}" >&2
}

apt_is_updated=
update_apt() {
  [[ -z $apt_is_updated ]] || return 0
  apt_is_updated=yes
  # An unreachable third-party archive must not stop us: what is needed is in Debian's own.
  apt-get update --quiet >&2 || say "apt-get update failed in part; going on with the lists there are"
}

require_all_in() {
  local binary missing=()
  for binary in "${binaries[@]}"; do [[ -x $1/$binary ]] || missing+=("$binary"); done
  ((${#missing[@]} == 0)) || fail "$1 has no ${missing[*]}. A cluster needs all of: ${binaries[*]}.
envtest's archives carry etcd, kube-apiserver and kubectl only: put kube-controller-manager and kube-proxy
of the same Kubernetes version beside them, or unset KUBEBUILDER_ASSETS to build $version on Debian 12."
}

say() { echo "binaries.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

main
