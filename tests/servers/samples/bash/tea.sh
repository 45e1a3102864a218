#!/usr/bin/env bash
# How tea is made.
kettle_litres=1
kettle_celsius=20

# Heats the water until it boils.
kettle_boil() {
    kettle_celsius=100
}

# Takes some water out.
kettle_pour() {
    kettle_litres=$((kettle_litres - $1))
}

steep() {
    local spoons=$1
    kettle_boil
    # HERE
    kettle_pour 1
    echo "$spoons at $kettle_celsius"
}

steep 2
