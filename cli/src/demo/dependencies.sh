# Dependencies and their versions, as manifests and lock files tell them.
echo "reading manifests and lock files"
{
    echo "## Dependencies"
    echo
    files \( -name Cargo.toml -o -name Cargo.lock -o -name package.json -o -name go.mod \
        -o -name 'requirements*.txt' \) -exec awk '
    function found(kind, name, version) {
        gsub(/^[ "]+|[ ",]+$/, "", name)
        gsub(/[|\t]/, " ", version)
        if (name != "") print "d\t" kind "\t" name "\t" version
    }
    function quoted(text) {
        return match(text, /"[^"]*"/) ? substr(text, RSTART + 1, RLENGTH - 2) : ""
    }
    function cargo_toml(line,    name) {
        if (line ~ /^\[/) {
            in_list = line ~ /dependencies\]/
            # A table of its own: [dependencies.NAME], and a version in it.
            own = line ~ /dependencies\.[^]]+\]/ ? line : ""
            gsub(/.*dependencies\.|\].*/, "", own)
            return
        }
        if (own != "" && line ~ /^version *=/) found("cargo", own, quoted(line))
        if (!in_list || line !~ /^[A-Za-z0-9_"-]+(\.[a-z]+)? *=/) return
        name = line
        sub(/ *=.*/, "", name)
        if (line ~ /path *=|workspace *= *true/ || name ~ /\.workspace$/) return
        if (line ~ /\{.*version *= *"/) { sub(/.*version *= */, "", line) }
        found("cargo", name, quoted(line))
    }
    function package_json(line) {
        if (line ~ /"[a-zA-Z]*[dD]ependencies" *: *\{/) { in_list = line !~ /\}/; return }
        if (line ~ /\}/) { in_list = 0; return }
        if (in_list && match(line, /"[^"]+" *: */)) {
            name = quoted(line)
            found("npm", name, quoted(substr(line, RSTART + RLENGTH)))
        }
    }
    function go_mod(line,    parts) {
        if (line ~ /^require \(/) { in_list = 1; return }
        if (line ~ /^\)/) { in_list = 0; return }
        sub(/^require /, "", line) || in_list || (line = "")
        if (split(line, parts, /[ \t]+/) && line ~ /v[0-9]/) {
            found("go", parts[1] == "" ? parts[2] : parts[1], parts[1] == "" ? parts[3] : parts[2])
        }
    }
    function requirements(line,    name) {
        sub(/[ \t]*(#|;).*/, "", line)
        if (line !~ /^[A-Za-z0-9]/) return
        name = line
        sub(/[][ <>=!~].*/, "", name)
        found("pip", name, substr(line, length(name) + 1))
    }
    BEGIN {
        for (i = 1; i < ARGC; i++) {
            base = ARGV[i]
            sub(/.*\//, "", base)
            in_list = 0
            own = ""
            while ((getline line < ARGV[i]) > 0) {
                sub(/\r$/, "", line)
                if (base == "Cargo.toml") cargo_toml(line)
                else if (base == "package.json") package_json(line)
                else if (base == "go.mod") go_mod(line)
                else if (base != "Cargo.lock") requirements(line)
                else if (line == "[[package]]") print "l"
            }
            close(ARGV[i])
            print base == "Cargo.lock" ? "f" : "m"
        }
    }' {} + | sort -u -t '	' -k1,4 >"$work/found"
    # `sort -u` counts each name and version once; manifests and locks are counted for themselves.
    manifests=$(count_files \( -name Cargo.toml -o -name package.json -o -name go.mod \
        -o -name 'requirements*.txt' \))
    locked=$(files -name Cargo.lock -exec awk 'BEGIN {
        for (i = 1; i < ARGC; i++) {
            while ((getline line < ARGV[i]) > 0) if (line ~ /^\[\[package\]\]/) n++
            close(ARGV[i])
        }
        print n + 0
    }' {} + | awk '{ n += $1 } END { print n + 0 }')
    echo "| what | count |"
    echo "|---|---:|"
    echo "| manifests | $manifests |"
    awk -F '\t' '$1 == "d" { n++ } END { print "| direct dependencies | " n + 0 " |" }' "$work/found"
    echo "| packages locked by cargo | $locked |"
    echo
    awk -F '\t' '
    $1 != "d" { next }
    ++n == 1 { print "| from | name | version |\n|---|---|---|" }
    n <= 100 { print "| " $2 " | " $3 " | " $4 " |" }
    END { if (n > 100) print "\nand " n - 100 " more." }' "$work/found"
} >"$work/result.md"
awk '/^\| (manifests|direct|packages)/' "$work/result.md"
