#!/bin/sh
# Multi30k's files, one sentence a line, as one table: sh prepare.sh FOLDER > multi30k.csv
# FOLDER holds train.de.gz, train.en.gz, train.fr.gz and val.de.gz, val.en.gz, val.fr.gz.
set -eu
folder=$1
mark=$(printf '\001')
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
echo de,en,fr,split
for part in train val; do
    for language in de en fr; do gzip -dc "$folder/$part.$language.gz" > "$work/$language"; done
    case $part in train) split=train ;; *) split=validation ;; esac
    paste -d "$mark" "$work/de" "$work/en" "$work/fr" | awk -F "$mark" -v part="$split" '{
        for (i = 1; i <= 3; i++) gsub(/"/, "\"\"", $i)
        printf "\"%s\",\"%s\",\"%s\",%s\n", $1, $2, $3, part
    }'
done
