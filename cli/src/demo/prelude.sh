# What the demo's scripts share. POSIX sh with find, ls, awk, sort, wc and grep, nothing else.
#
# Names of files may hold anything. They only ever travel as arguments; where a name must stand
# in a line of output, files with a line break in their path are left out, and that is said.
set -u
LC_ALL=C
export LC_ALL
work=$(pwd)
inputs=${GANGER_INPUTS:-/inputs}
cd "${REPO:-/repo}" || exit 1

# language:extensions
languages='Rust:rs C:c,h C++:cc,cpp,cxx,hh,hpp Go:go Python:py JavaScript:js,jsx,mjs,cjs
TypeScript:ts,tsx Java:java Kotlin:kt,kts Scala:scala C#:cs Swift:swift Ruby:rb PHP:php Perl:pl,pm
Lua:lua Haskell:hs OCaml:ml,mli Elixir:ex,exs Erlang:erl Zig:zig Shell:sh,bash SQL:sql HTML:html,htm
CSS:css,scss Markdown:md JSON:json YAML:yaml,yml TOML:toml Protobuf:proto Text:txt'

# Hands every file to a command; what is fetched or made from others is left out.
files() {
    find . -type d \( -name .git -o -name .hg -o -name .svn -o -name .ganger -o -name target \
        -o -name node_modules -o -name .venv -o -name __pycache__ \) -prune -o -type f "$@"
}

# The same without files whose path has a line break.
plain_files() {
    files ! -path '*
*' "$@"
}

# How many files that are. `{} +` may need several runs, so they are added up.
count_files() {
    files "$@" -exec sh -c 'echo $#' sh {} + | awk '{ n += $1 } END { print n + 0 }'
}

# For awk: reads the languages, and keeps what would break a table out of a cell.
awk_prelude='
function load_languages(text,    entries, parts, exts, i, j, n, m) {
    n = split(text, entries, /[ \n]+/)
    for (i = 1; i <= n; i++) {
        split(entries[i], parts, ":")
        m = split(parts[2], exts, ",")
        for (j = 1; j <= m; j++) language_of[exts[j]] = parts[1]
    }
}
function extension(path,    base, i) {
    base = path
    sub(/.*\//, "", base)
    i = match(base, /\.[A-Za-z0-9]+$/)
    return i > 1 ? substr(base, i + 1) : ""
}
function cell(text) {
    gsub(/[^ -~\200-\377]/, "?", text)
    gsub(/\|/, "\\\\|", text)
    return text
}
'

# What is looked for in sources, as whole words.
markers='TODO FIXME XXX HACK unsafe unwrap panic deprecated'
