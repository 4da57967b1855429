"""The documentation as a test reads it: its commands, and a machine to run them on.

What stands behind the language of a fenced block says what becomes of it:

    sh                      is run, line by line, and has to succeed
    console                 the same for lines that begin with "$ "; the others are what is printed, `…` standing for anything
    sh stays=TEXT [name=N]  goes on running; the next block waits until it has printed TEXT. One of the same name ends
    sh no-run: WHY          is not run; its commands still have to exist
    yaml file=NAME          becomes that file (any language)

A page that begins with `<!-- after: PAGE.md -->` goes on where that page has ended.
"""
