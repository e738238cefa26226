#!/usr/bin/env bash
# usage: scripts/debian.sh PACKAGE...
# Install the Debian packages that are missing, or say plainly which command does.
set -euo pipefail

present() {
  case $1 in
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
    containernetworking-plugins) compgen -G '/usr/lib/cni/bridge' >/dev/null || compgen -G '/opt/cni/bin/bridge' >/dev/null ;;
    busybox-static) command -v busybox >/dev/null ;;
    golang-go) command -v go >/dev/null || compgen -G '/usr/lib/go-1.*/bin/go' >/dev/null ;;
    iproute2) PATH=$PATH:/usr/sbin:/sbin command -v ip >/dev/null ;;
    python3.*-venv) "${1%-venv}" -c 'import ensurepip' 2>/dev/null ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
  esac
}

missing=()
for package in "$@"; do
  present "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "missing: ${missing[*]} (these are Debian's names). Please install them with this system's package manager." >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "missing: ${missing[*]}. Please run: sudo apt-get install --yes ${missing[*]}" >&2
  exit 1
fi
echo "installing from Debian: ${missing[*]}"
apt-get update --quiet --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --quiet --no-install-recommends "${missing[@]}" >/dev/null
