"""A page of docs/ as one script for bash: what a reader types, to the letter, on another machine than this one.

tests/e2e/test_79_docs.py follows the pages here, and looks at what they show; this is for machines that have nothing of ours.
"""

import shlex


def script(blocks, patience=60, also=()):
    """Of blocks as tests/docs/pages.py has them. It ends at the first command that fails, and says in which block. `also`: the
    beginnings of blocks that are run although they are marked. The reader is root, who needs no sudo."""
    lines = ["set -eu", 'sudo() { "$@"; }', "cd"]
    for number, block in enumerate(blocks):
        if block.language not in ("sh", "console") or block.why_not and not block.text.startswith(tuple(also)):
            continue
        typed = "\n".join(block.commands())
        lines.append(f"echo '--- {block}' >&2")
        if not block.option("stays"):
            lines.append(typed)
            continue
        log, pattern = f"/tmp/page-{number}.log", shlex.quote(block.option("stays"))
        lines += [
            f"{{ {typed}\n}} >{log} 2>&1 &",
            f"left={patience * 5}",
            f"until grep -Pzq -- {pattern} {log}; do",
            f'  [ "$left" != 0 ] || {{ cat {log} >&2; exit 1; }}; left=$((left - 1)); sleep 0.2; done',
        ]
    return "\n".join(lines) + "\n"
