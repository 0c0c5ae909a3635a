#!/bin/sh
# Makes a fresh Debian 12 ready: uv in .tools, the locked packages in .venv, RabbitMQ and what the tests need from Debian.
# Usage: sh deploy/setup.sh demo|test|check|bench. A second run finds its stamps and does nothing.
set -eu

UV_VERSION=0.13.9

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

# The command that runs others as root, or nothing for root itself. Only a person at a terminal is asked for a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif [ -t 0 ]; then sudo "$@"
    else sudo -n "$@"
    fi
}

may_install() {
    have apt-get || return 1
    [ "$(id -u)" -eq 0 ] && return 0
    have sudo || return 1
    [ -t 0 ] || sudo -n true 2>/dev/null
}

# Debian starts a service as soon as it is installed, and again at every boot. Ours are started by the project, with ports and folders
# of their own, so Debian's stay stopped: policy-rc.d is Debian's switch for that, put up only for the time of the installation.
install_packages() {
    say "installing $*"
    policy=/usr/sbin/policy-rc.d
    raised=
    if [ ! -e "$policy" ]; then
        raised=yes
        trap 'as_root rm -f "$policy"' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
    if [ -n "$raised" ]; then
        as_root rm -f "$policy"
        trap - EXIT INT TERM
    fi
    for service in rabbitmq-server haproxy; do
        case " $* " in *" $service "*) [ ! -d /run/systemd/system ] || as_root systemctl disable "$service" ;; esac
    done
}

# Every Debian package still missing for this profile, in one list, so that apt runs once.
missing_packages() {
    "$PYTHON" -c 'import ensurepip' 2>/dev/null || [ -x .tools/bin/uv ] || echo python3-venv
    if [ -z "${AMQP_URL:-}" ] && [ "$PROFILE" != check ] && ! have rabbitmq-server; then echo rabbitmq-server; fi
    if [ "$PROFILE" = test ]; then
        have curl || echo curl
        have java || echo default-jre-headless
        [ -e /usr/share/java/ecj.jar ] || echo libecj-java
        have haproxy || echo haproxy
        have openssl || echo openssl
    fi
}

install_missing() {
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if may_install; then
        # shellcheck disable=SC2086 # a list of package names, none of them with a space
        install_packages $missing
        return 0
    fi
    case "$missing" in
        *rabbitmq-server*)
            fail "this user may not install packages, so have '${missing% }' installed (apt-get install ${missing% }), or name a broker of yours with AMQP_URL=amqp://user:password@host:5672/vhost, or start the whole stack with 'docker compose up'." ;;
        *python3-venv*)
            fail "this user may not install packages, so have '${missing% }' installed (apt-get install ${missing% })." ;;
        *)
            say "without ${missing% }, which this user may not install, the tests that need it are skipped" ;;
    esac
}

find_python() {
    for name in python3 python3.11 python3.12 python3.13 python3.14; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then
            PYTHON=$name
            return 0
        fi
    done
    fail "Python 3.11 to 3.14 is needed; on Debian 12: apt-get install python3"
}

install_uv() {
    stamp=.tools/.uv-$UV_VERSION
    [ -e "$stamp" ] && return 0
    say "installing uv $UV_VERSION into .tools"
    "$PYTHON" -m venv .tools
    .tools/bin/pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
    : >"$stamp"
}

# What is installed for one profile stays for the others (--inexact), so that going back and forth costs nothing.
sync_packages() {
    case "$PROFILE" in
        demo) set -- --no-default-groups --extra demo ;;
        bench) set -- --no-default-groups --group bench --extra demo ;;
        *) set -- --extra demo ;;
    esac
    stamp=.venv/.synced-$PROFILE
    sum=$(cat uv.lock pyproject.toml clients/python/pyproject.toml | cksum)
    [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] && return 0
    say "installing the locked Python packages into .venv"
    interpreter=$("$PYTHON" -c 'import sys; print(sys.executable)')
    UV_PYTHON_DOWNLOADS=never .tools/bin/uv sync --frozen --inexact --python "$interpreter" "$@"
    printf '%s\n' "$sum" >"$stamp"
}

cd "$(dirname "$0")/.."
PROFILE=${1:-test}
case "$PROFILE" in demo | test | check | bench) ;; *) fail "unknown profile '$PROFILE': demo, test, check or bench" ;; esac
find_python
install_missing
install_uv
sync_packages
