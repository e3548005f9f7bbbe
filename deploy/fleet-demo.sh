#!/bin/sh
# Gives the fleet of compose.yaml a small board, watches it done, and reads the result: what a lead does,
# from a shell. GANGER_ADDR and GANGER_TOKEN_FILE say where.
set -eu

GANGER_TEAM="fleet-demo-$(date +%s)"
export GANGER_TEAM
ganger team create "$GANGER_TEAM"

# In a new team ids begin at 1.
ganger task create 'Name the system' --type shell --prompt 'uname -srm'
ganger task create 'Count the programs' --type shell --prompt 'ls /usr/bin | wc -l'
ganger task create 'Find out who works here' --type shell --prompt 'id'
ganger task create 'Look for a network' --type shell --prompt 'cat /proc/net/dev'
# shellcheck disable=SC2016 # the sandbox's shell expands it
ganger task create 'Put it together' --type shell --blocked-by 1,2,3,4 \
    --prompt 'cat "$GANGER_INPUTS"/*/result.md > result.md; cat result.md'

ganger task watch --until-done
ganger task show 5
ganger fleet workers
