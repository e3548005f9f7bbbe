# Puts the results of the tasks that this one waited for into one report.
cd "$work" || exit 1
{
    echo "# ${SUBJECT:-The code base}: a report"
    for id in $(ls "$inputs" | awk '/^[0-9]+$/' | sort -n); do
        [ -r "$inputs/$id/result.md" ] || continue
        echo
        awk 1 "$inputs/$id/result.md"
        sections=$id
    done
} >report.md
if [ -z "${sections:-}" ]; then
    echo "there is no result below $inputs to report" >&2
    exit 1
fi
awk '/^## / { n++ } END { print "report.md: " n " sections, " NR " lines" }' report.md
