# What somebody meant to come back to, and where care is needed.
echo "searching sources for markers"
{
    echo "## Markers"
    echo
    echo "| marker | lines | files | most in |"
    echo "|---|---:|---:|---|"
    plain_files -exec awk -v languages="$languages" -v markers="$markers" "$awk_prelude"'
    BEGIN {
        load_languages(languages)
        count = split(markers, words, " ")
        for (i = 1; i < ARGC; i++) {
            if (!(extension(ARGV[i]) in language_of)) continue
            while ((getline line < ARGV[i]) > 0) {
                for (w = 1; w <= count; w++) {
                    # The plain search first: most lines have none.
                    if (index(line, words[w]) &&
                        line ~ ("(^|[^A-Za-z0-9_])" words[w] "([^A-Za-z0-9_]|$)")) hits[w]++
                }
            }
            close(ARGV[i])
            for (w = 1; w <= count; w++) {
                if (hits[w]) print words[w] "\t" hits[w] "\t" substr(ARGV[i], 3)
                hits[w] = 0
            }
        }
    }' {} + | sort -t '	' -k1,1 -k2,2nr -k3,3 | awk -F '\t' -v markers="$markers" "$awk_prelude"'
    {
        lines[$1] += $2
        if (++files[$1] == 1) most[$1] = substr($0, length($1 "\t" $2) + 2) " (" $2 ")"
    }
    END {
        count = split(markers, words, " ")
        for (w = 1; w <= count; w++) {
            word = words[w]
            print "| " word " | " lines[word] + 0 " | " files[word] + 0 " | " cell(most[word]) " |"
        }
    }'
} >"$work/result.md"
awk '/^\| [A-Za-z]/ && !/^\| marker/ { print $2, $4 }' "$work/result.md"
