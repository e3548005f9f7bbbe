# The largest and the longest files.
echo "looking for the largest and the longest files"
skipped=$(count_files -path '*
*')
{
    echo "## Largest files"
    echo
    echo "| bytes | file |"
    echo "|---:|---|"
    plain_files -exec ls -ldn {} + | awk '{ print $5 "\t" substr($0, index($0, " ./") + 3) }' |
        sort -t '	' -k1,1nr -k2,2 | awk -F '\t' "$awk_prelude"'
        NR <= 10 { name = substr($0, length($1) + 2); print "| " $1 " | " cell(name) " |" }'
    echo
    echo "## Longest files"
    echo
    echo "| lines | file |"
    echo "|---:|---|"
    plain_files -exec awk -v languages="$languages" "$awk_prelude"'
    BEGIN {
        load_languages(languages)
        for (i = 1; i < ARGC; i++) {
            if (!(extension(ARGV[i]) in language_of)) continue
            n = 0
            while ((getline line < ARGV[i]) > 0) n++
            close(ARGV[i])
            print n "\t" substr(ARGV[i], 3)
        }
    }' {} + | sort -t '	' -k1,1nr -k2,2 | awk -F '\t' "$awk_prelude"'
        NR <= 10 { name = substr($0, length($1) + 2); print "| " $1 " | " cell(name) " |" }'
    if [ "$skipped" -gt 0 ]; then
        echo
        echo "Left out: $skipped files with a line break in their path."
    fi
} >"$work/result.md"
awk '/^\|/ && !/^\|-/ { n++ } END { print n - 2 " rows" }' "$work/result.md"
