#!/bin/sh
# Installs Redis and PostgreSQL from Debian's packages. Their services are not started, now or at boot: tests start their
# own servers.
set -eu

missing=''
services=''
command -v redis-server >/dev/null || missing='redis-server' services='redis-server'
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || {
    missing="$missing postgresql"
    services="$services postgresql"
}
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "Not found: $missing. Install redis-server and PostgreSQL's initdb for the tests that use them."
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    if sudo -n true 2>/dev/null; then exec sudo sh "$0"; fi
    echo "Not found: $missing. Run: sudo sh $0 (only tests need it)."
    exit 0
fi

policy=/usr/sbin/policy-rc.d # package scripts run it before they start a service
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq install --no-install-recommends --yes $missing
if [ -d /run/systemd/system ]; then
    # shellcheck disable=SC2086
    systemctl disable --quiet $services
fi
