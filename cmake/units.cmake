# Fills the templates in src/host/service as packages have them; `service install` fills the same ones (host/service_text.c).
#
#   cmake -DBIN=/usr/bin -DUNITS=folder -DSYSCTL=folder -P units.cmake
#
# Both services wait for what makes them work: a token, or a state.

set(from ${CMAKE_CURRENT_LIST_DIR}/../src/host/service)
file(READ ${from}/hardening.conf HARDENING)
string(REGEX REPLACE "\n$" "" HARDENING "${HARDENING}")

function(fill template output)
  file(READ ${template} text)
  foreach(word NAME DESCRIPTION CONDITION PROGRAM ARGS STATE CREDENTIALS HARDENING)
    string(REPLACE "@${word}@" "${${word}}" text "${text}")
  endforeach()
  file(WRITE ${output} "${text}")
endfunction()

set(NAME adit)
set(DESCRIPTION "connector of a tunnel")
set(CONDITION "ConditionPathExists=/etc/adit/token")
set(PROGRAM ${BIN}/adit)
set(ARGS "--no-autoupdate tunnel run --token-file %d/token")
set(CREDENTIALS "LoadCredential=token:/etc/adit/token")
fill(${from}/connector.service ${UNITS}/adit.service)

set(NAME adit-edge)
set(DESCRIPTION "the public side of tunnels")
set(CONDITION "ConditionPathExists=|/var/lib/adit-edge/db/adit.db\nConditionPathExists=|/var/lib/adit-edge/adit.db")
set(PROGRAM ${BIN}/adit-edge)
set(ARGS "run --data /var/lib/adit-edge --takeover")
set(STATE adit-edge)
set(CREDENTIALS "")
fill(${from}/edge.service ${UNITS}/adit-edge.service)

file(READ ${from}/udp-buffers.conf text)
file(WRITE ${SYSCTL}/50-adit.conf "${text}")
file(WRITE ${SYSCTL}/50-adit-edge.conf "${text}")
