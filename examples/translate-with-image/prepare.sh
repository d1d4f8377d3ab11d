#!/bin/sh
# Multi30k's sentences with Flickr8k's photographs, as one table: sh prepare.sh MULTI30K FLICKR8K > with-image.csv
# Multi30k describes photographs of Flickr30k, and Flickr8k's are among them. A sentence has the photograph whose caption is the same but for
# capitals, spaces and marks; where several are, or none is, the place stays empty. Paths begin with FLICKR8K.
set -eu
folder=$1
mark=$(printf '\001')
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
echo de,image,en,split
for part in train val; do
    for language in de en; do gzip -dc "$folder/$part.$language.gz" > "$work/$language"; done
    case $part in train) split=train ;; *) split=validation ;; esac
    paste -d "$mark" "$work/de" "$work/en" | awk -F "$mark" -v captions="$2/captions.csv" -v folder="$2" -v part="$split" '
        function plain(text) { text = tolower(text); gsub(/[^a-z0-9]/, "", text); return text }
        BEGIN {
            while ((getline line < captions) > 0) {
                image = line; sub(/,.*/, "", image)
                caption = line; sub(/^[^,]*,/, "", caption); sub(/,[^,]*$/, "", caption)
                caption = plain(caption)
                if (caption in images && images[caption] != image) images[caption] = ""
                else images[caption] = image
            }
        }
        {
            image = images[plain($2)]
            if (image != "") image = folder "/" image
            for (i = 1; i <= 2; i++) gsub(/"/, "\"\"", $i)
            printf "\"%s\",%s,\"%s\",%s\n", $1, image, $2, part
        }'
done
