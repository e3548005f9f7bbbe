# Files and lines by language.
echo "counting files and lines in every language"
files -exec awk -v languages="$languages" "$awk_prelude"'
BEGIN {
    load_languages(languages)
    # Read by hand: as operands, an unreadable file would end some awks, and `a=b` be an assignment.
    for (i = 1; i < ARGC; i++) {
        language = language_of[extension(ARGV[i])]
        if (language == "") language = "other"
        files[language]++
        if (language == "other") continue
        while ((got = (getline line < ARGV[i])) > 0) lines[language]++
        close(ARGV[i])
        if (got < 0) unread++
    }
    for (language in files) print language "\t" files[language] "\t" lines[language] + 0
    print "unread\t" unread + 0 "\t0"
}' {} + | awk -F '\t' '
{ files[$1] += $2; lines[$1] += $3 }
END { for (name in files) print name "\t" files[name] "\t" lines[name] }' |
    sort -t '	' -k3,3nr -k2,2nr -k1,1 | awk -F '\t' '
BEGIN {
    print "## Files and lines by language\n"
    print "| language | files | lines |\n|---|---:|---:|"
}
$1 == "unread" { unread = $2; next }
{ all += $2; lines += $3 }
$1 == "other" { other = $2; next }
{ print "| " $1 " | " $2 " | " $3 " |" }
END {
    if (other) print "| other | " other " | |"
    print "| all | " all + 0 " | " lines + 0 " |"
    if (unread) print "\n" unread " files of a known language could not be read, and have no lines here."
}' >"$work/result.md"
awk '/^\| all /' "$work/result.md"
