# MemorySanitizer sees what our code writes and not what Debian's libraries write, which were not compiled for it: memory that
# one of them filled looks uninitialised. So tests are of three kinds here:
#
#   ADIT_MSAN_WHOLE  no library takes part, or it says what it fills (base/filled.h): all is judged, fresh and freed memory
#                    and what is handed to libc, too
#   ADIT_MSAN_NOT    a library fills structures on our stack, or its own: these are left to AddressSanitizer
#   all others       a library fills memory of the heap: that counts as initialised, and what is handed to libc is not
#                    judged (tests/fake/msan); what our code branches on is

set(ADIT_MSAN_WHOLE
    fuzz/access_carry fuzz/access_place fuzz/address fuzz/capnp_message fuzz/client_hello
    fuzz/connect_request fuzz/control_connector fuzz/control_edge fuzz/datagram fuzz/h1_chunked
    fuzz/h1_request fuzz/h1_response fuzz/h1_server fuzz/names fuzz/netlink fuzz/network
    fuzz/path_regex fuzz/port_text fuzz/proxy fuzz/proxy_header fuzz/query fuzz/quic_frames
    fuzz/quic_tunnel_connector fuzz/quic_tunnel_edge fuzz/relayed_packet fuzz/replica
    fuzz/rpc_message fuzz/socks fuzz/socks_client fuzz/unit_file fuzz/websocket unit/base/buffers
    unit/base/bytes unit/base/encode unit/base/hash unit/base/idn unit/base/map unit/base/metrics
    unit/base/nearest unit/base/process unit/base/quota unit/base/redact unit/base/shared
    unit/base/wide unit/config/manual unit/connector/cli/unit_file unit/connector/dial/protocol
    unit/connector/dial/proxy unit/connector/dial/socks_client unit/connector/ingress/path_regex
    unit/connector/proxy_header unit/connector/socks unit/edge/access/palette unit/edge/access/pins
    unit/edge/access/place unit/edge/access/provider_notes unit/edge/access/tries
    unit/edge/acme/wanted unit/edge/dns/rate unit/edge/dns/shape unit/edge/forward/replay
    unit/edge/listen/allowance unit/edge/listen/client_hello unit/edge/listen/proxy_header
    unit/edge/ports/port_text unit/edge/rates unit/edge/route/network_table
    unit/edge/tunnels/balance unit/edge/tunnels/ejection unit/edge/tunnels/registry unit/edge/worker
    unit/http/exchange_log unit/http/h1 unit/http/head unit/http/pace unit/io/address
    unit/io/network unit/io/udp unit/io/watchdog unit/quic/frames)

set(ADIT_MSAN_NOT
    fuzz/access_document fuzz/access_rule fuzz/api_request fuzz/countries fuzz/dns_query fuzz/dns_reply fuzz/dns_tsig
    fuzz/h2_tunnel_connector fuzz/h3_server_session fuzz/import fuzz/jwt fuzz/oauth fuzz/ocsp
    fuzz/pem fuzz/quic_peer fuzz/srv fuzz/ssh_key unit/acme/reply unit/connector/cli/diag
    unit/connector/ingress/ingress unit/connector/origin_bodies unit/connector/origin_h2
    unit/connector/origin_keys unit/connector/origin_tcp unit/edge/access/countries
    unit/edge/access/document unit/edge/access/evaluation unit/edge/access/ssh_cert
    unit/edge/access/token unit/edge/boxed_signer unit/edge/cli/cli unit/edge/control/api unit/edge/control/api_networks
    unit/edge/control/api_ports unit/edge/control/login unit/edge/dns/answer unit/edge/dns/ask
    unit/edge/dns/notify unit/edge/dns/tsig unit/edge/dns/update unit/edge/forward/crossing
    unit/edge/forward/private_tcp unit/edge/forward/replicas unit/edge/ports/port_tcp unit/edge/snapshot unit/http/fetch
    unit/http/websocket unit/io/resolve unit/jose/jwt unit/quic/handshake unit/quic/paths
    unit/quic/streams unit/sandbox/sandbox unit/tls/authority unit/tls/key_box unit/tls/pem
    unit/tls/tls unit/tls/tls_foreign unit/transport/h2_transport unit/transport/quic_calls
    unit/transport/quic_transport unit/transport/quic_udp unit/wire/token)

function(adit_msan_test target name)
  if(ADIT_SANITIZE STREQUAL "memory" AND NOT name IN_LIST ADIT_MSAN_WHOLE)
    target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fake/msan/libraries.c)
    set_property(
      TEST ${name}
      APPEND
      PROPERTY ENVIRONMENT "MSAN_OPTIONS=poison_in_malloc=0:poison_in_free=0")
  endif()
endfunction()
