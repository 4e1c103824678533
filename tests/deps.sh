#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what demo and test need and a fresh Debian 12 may lack. What is there is left alone; nothing is downloaded twice.
set -eu
want=
need() { command -v "$1" >/dev/null 2>&1 || want="$want $2"; } # COMMAND PACKAGE
need ip iproute2       # the demo's and the benchmark's namespaces
need nft nftables      # the benchmark's peer that is the kernel alone
need git git           # lint
need gcc gcc           # the race detector
[ -e /usr/include/stdlib.h ] || want="$want libc6-dev"
need xz xz-utils       # the virtual machine's kernel
need curl curl         # the recipes of docs/gnmi.md
need python3 python3   # other people's gNMI clients; pip fetches them, tests/interop/testdata/requirements.txt
python3 -c 'import ensurepip, venv' 2>/dev/null || want="$want python3-venv"
need yanglint libyang-tools
[ -z "$want" ] && exit 0
[ "$(id -u)" = 0 ] || { echo "root is needed to install:$want" >&2; exit 1; }
echo "installing:$want"
apt-get update -qq
# shellcheck disable=SC2086 # a list on purpose
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $want >/dev/null
