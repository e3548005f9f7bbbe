# Checks the report against the code base: counts again, by other means, and compares.
report=
for found in "$inputs"/*/report.md; do
    [ -r "$found" ] && report=$found
done
if [ -z "$report" ]; then
    echo "there is no report below $inputs" >&2
    exit 1
fi

checks=0
wrong=0
# check WHAT REPORTED RECOUNTED
check() {
    checks=$((checks + 1))
    verdict=right
    if [ "$2" != "$3" ]; then
        verdict=WRONG
        wrong=$((wrong + 1))
    fi
    echo "$verdict: $1: report ${2:-nothing}, recount $3"
    echo "| $1 | ${2:-} | $3 | $verdict |" >>"$work/checks"
}
# reported SECTION ROW COLUMN: one cell of the report; an empty ROW is the first.
reported() {
    awk -F ' *[|] *' -v section="## $1" -v row="$2" -v column="$3" '
    /^## / { inside = $0 == section; n = 0; next }
    inside && /^[|]/ { n++ }
    inside && /^[|]/ && n > 2 && (row == "" || $2 == row) { print $(column + 1); exit }' "$report"
}
# The files of a language, for find.
names_of() {
    echo "$1" | awk -F '[:,]' '{ for (i = 2; i <= NF; i++) print $i }'
}
# sum WORD...: adds up the numbers of the lines that begin with these words.
sum() {
    awk -v words="$*" '
    index($0, words " ") == 1 { n += $NF }
    END { print n + 0 }' "$work/counted"
}

# One walk for all languages. Each run gets the language as $0, the files as arguments; grep counts
# the last line of a file also without its end.
count_language='echo "files $0 $#"
grep -ahc "" "$@" 2>/dev/null | awk -v language="$0" "{ n += \$1 } END { print \"lines\", language, n + 0 }"'
set --
for entry in $languages; do
    [ $# -eq 0 ] || set -- "$@" -o
    set -- "$@" '('
    begun=
    for extension in $(names_of "$entry"); do
        [ -z "$begun" ] || set -- "$@" -o
        # As in the analysis: a name that is nothing but its extension has none.
        set -- "$@" -name "?*.$extension"
        begun=yes
    done
    set -- "$@" ')' -exec sh -c "$count_language" "${entry%%:*}" '{}' +
done
files '(' "$@" ')' >"$work/counted"

: >"$work/checks"
section='Files and lines by language'
check 'all files' "$(reported "$section" all 2)" "$(count_files)"
for entry in $languages; do
    language=${entry%%:*}
    count=$(sum files "$language")
    [ "$count" -gt 0 ] || continue
    check "$language files" "$(reported "$section" "$language" 2)" "$count"
    check "$language lines" "$(reported "$section" "$language" 3)" "$(sum lines "$language")"
done

set --
for entry in $languages; do
    for extension in $(names_of "$entry"); do
        [ $# -eq 0 ] || set -- "$@" -o
        set -- "$@" -name "?*.$extension"
    done
done
size=$(reported 'Largest files' '' 1)
if [ -n "$size" ]; then
    larger=$(count_files ! -path '*
*' -size "+${size}c")
    same=$(count_files ! -path '*
*' -size "${size}c")
    check 'files larger than the largest' 0 "$larger"
    check 'a file is as large as the largest' yes "$([ "$same" -gt 0 ] && echo yes || echo no)"
fi
longest=$(plain_files \( "$@" \) -exec grep -ahc '' {} + 2>/dev/null | sort -nr | awk 'NR == 1')
check 'lines of the longest file' "$(reported 'Longest files' '' 1)" "$longest"

check 'packages locked by cargo' "$(reported Dependencies 'packages locked by cargo' 2)" \
    "$(files -name Cargo.lock -exec grep -hc '^\[\[package\]\]' {} + | awk '{ n += $1 } END { print n + 0 }')"

count_markers='for marker in $0; do
    echo "$marker $(grep -ahcE "(^|[^A-Za-z0-9_])$marker([^A-Za-z0-9_]|\$)" "$@" 2>/dev/null |
        awk "{ n += \$1 } END { print n + 0 }")"
done'
plain_files '(' "$@" ')' -exec sh -c "$count_markers" "$markers" '{}' + >"$work/counted"
for marker in $markers; do
    check "lines with $marker" "$(reported Markers "$marker" 2)" "$(sum "$marker")"
done

{
    echo "# The report, checked"
    echo
    echo "$checks checks against the code base, $wrong wrong."
    echo
    echo "| what | report | recount | |"
    echo "|---|---:|---:|---|"
    awk 1 "$work/checks"
} >"$work/result.md"
if [ "$wrong" -gt 0 ]; then
    echo "$wrong of $checks checks are wrong" >&2
    exit 1
fi
echo "all $checks checks are right"
