#!/bin/sh
# Installs a driver of the matrix, or a reader of OTLP, into a folder, once:
# install.sh FOLDER python|node|jdbc|otlp
#
# Says exactly what is missing if a tool is; nothing is installed system-wide except the JDBC
# driver, and that only by root on a system with apt-get. Exit code 3: a tool is missing.
set -eu

FOLDER=${1:?usage: install.sh FOLDER python|node|jdbc|otlp}
DRIVER=${2:?usage: install.sh FOLDER python|node|jdbc|otlp}
JAR=/usr/share/java/postgresql.jar

missing() {
    echo "install.sh: $1 is missing; $2" >&2
    exit 3
}

mkdir -p "$FOLDER"
# Several tests may install at once.
if command -v flock >/dev/null; then
    exec 9>"$FOLDER/lock.$DRIVER"
    flock 9
fi
[ ! -e "$FOLDER/done.$DRIVER" ] || exit 0

case $DRIVER in
python)
    command -v python3 >/dev/null || missing python3 "install Python 3.9 or later"
    python3 -m venv "$FOLDER/venv" || missing "python3-venv" "install the venv module of Python"
    "$FOLDER/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        'psycopg[binary]>=3.2,<4' 'asyncpg>=0.30,<1'
    ;;
otlp)
    command -v python3 >/dev/null || missing python3 "install Python 3.9 or later"
    python3 -m venv "$FOLDER/otlp" || missing "python3-venv" "install the venv module of Python"
    "$FOLDER/otlp/bin/python" -m pip install --quiet --disable-pip-version-check \
        'opentelemetry-proto>=1.30,<2'
    ;;
node)
    command -v npm >/dev/null || missing npm "install Node.js 18 or later with npm"
    npm install --silent --no-audit --no-fund --prefix "$FOLDER" 'pg@^8.16'
    ;;
jdbc)
    if [ ! -e "$JAR" ] || ! command -v javac >/dev/null; then
        want="libpostgresql-jdbc-java default-jdk-headless"
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            missing "$JAR or a JDK" "install the packages $want"
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >&2 ||
            missing "$JAR or a JDK" "apt-get could not install $want"
    fi
    ln -sf "$JAR" "$FOLDER/postgresql.jar"
    ;;
*)
    echo "install.sh: no driver is called $DRIVER" >&2
    exit 2
    ;;
esac
touch "$FOLDER/done.$DRIVER"
