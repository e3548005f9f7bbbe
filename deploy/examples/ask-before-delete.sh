#!/bin/sh
# A sub-agent that talks: it deletes what its prompt names, but asks its lead before.
#
#   [agent_types.cleaner]
#   description = "deletes a directory of the workspace, if its lead agrees"
#   command = ["/bin/sh", "/examples/ask-before-delete.sh", "{prompt_file}"]
#   protocol = "json"
#   mounts = [{ source = "/srv/ganger/examples", target = "/examples" }]
#
# It reads as little JSON as that takes: a line's type comes first, and an answer counts by how its
# text begins. What else it is told (steering) makes no difference to it.
set -eu
# The stop comes as a line, too; the signal beside it would end the script in the middle.
trap '' TERM

say() { printf '%s\n' "$1"; }

# The prompt is in a file as well as in the first line. What goes into JSON here may hold no quotes.
target=$(tr -d '\n"\\' < "$1")
IFS= read -r _task

count=$(find "$target" -type f | wc -l | tr -d ' ')
say "{\"type\":\"progress\",\"text\":\"$target holds $count files\",\"doing\":\"Asking whether $target may go\"}"
say "{\"type\":\"question\",\"text\":\"May I delete $target with its $count files? Begin with yes or no.\",\"timeout_seconds\":3600}"

while IFS= read -r line; do
    case $line in
        '{"type":"answer",'*'"text":"'[Yy]es*)
            say "{\"type\":\"progress\",\"doing\":\"Deleting $target\"}"
            rm -r -- "$target"
            say "{\"type\":\"result\",\"text\":\"deleted $target: $count files\"}"
            exit 0 ;;
        '{"type":"answer",'* | '{"type":"no_answer",'*)
            say "{\"type\":\"result\",\"text\":\"kept $target: $count files\"}"
            exit 0 ;;
        '{"type":"stop",'*)
            exit 1 ;;
    esac
done
# Nobody is there any more to tell it anything.
exit 1
