/* Every number that protects us, with its reason. Anything an operator may want to change is also a
 * row of the settings table; these are the defaults and the hard edges. */
#pragma once

/* --- HTTP heads ----------------------------------------------------------------------------- */

/* All of one request or response head. nginx allows 4 x 8 KiB, browsers stay below 16 KiB with
 * large cookies; twice that leaves room for our own additions on the second hop. */
#define LIMIT_HEAD_BYTES (64 * 1024)
/* Fields in one head or trailer block. Apache and HAProxy use 100; proxies in front add some. */
#define LIMIT_HEAD_FIELDS 200
/* Interim (1xx) heads of one exchange: each is kept until the exchange ends. A service sends one or
 * two. */
#define LIMIT_INTERIM_HEADS 16
/* Request target. nginx's large_client_header_buffers gives 8 KiB; OAuth flows get near it. */
#define LIMIT_TARGET_BYTES (16 * 1024)
/* Chunk extensions carry nothing anybody needs; a long one is an attack. */
#define LIMIT_CHUNK_LINE_BYTES 256

/* --- Bodies --------------------------------------------------------------------------------- */

/* What one body may wait with inside one program: two 16 KiB records being read and two being
 * written. Flow-controlled bodies use the stream window instead. */
#define LIMIT_BODY_QUEUE_BYTES (64 * 1024)
/* Bytes accepted for a connection but not yet taken by the kernel: enough to fill one flush. */
#define LIMIT_WRITE_BACKLOG_BYTES (256 * 1024)
/* A request body of unknown length for a service that takes no chunked ones (disableChunkedEncoding): it
 * is collected to learn its length. nginx collects 1 MiB by default; uploads of unknown length are rare,
 * browsers always tell it. */
#define LIMIT_COLLECTED_BODY_BYTES (4 * 1024 * 1024)
/* A control-plane request (REST, admin, login form) is read whole; the largest is a JSON object. */
#define LIMIT_API_BODY_BYTES (256 * 1024)
/* All of a file of trusted roots; the system's bundle is about 220 KiB. */
#define LIMIT_ROOTS_BYTES (4 * 1024 * 1024)

/* --- HTTP/2 --------------------------------------------------------------------------------- */

/* Receive window of one stream: the most a stalled reader can make us hold per stream. 512 KiB
 * carries 40 Mbit/s over 100 ms. */
#define LIMIT_H2_STREAM_WINDOW (512 * 1024)
/* What it grows to in a tunnel, where the path carries more: 1 Gbit/s over 100 ms. And by how much all streams of
 * a session together may have grown. */
#define LIMIT_H2_STREAM_WINDOW_MAX (16 * 1024 * 1024)
#define LIMIT_H2_GROWN_BYTES (64 * 1024 * 1024)
/* Receive window of a tunnel's connection: twice the largest of a stream, for it is given back by halves. */
#define LIMIT_H2_TUNNEL_WINDOW (32 * 1024 * 1024)
/* Receive window of a whole connection; replenished as data arrives, so that one stalled stream
 * does not stop the others. */
#define LIMIT_H2_CONNECTION_WINDOW (16 * 1024 * 1024)
/* Streams a visitor may have open at once on one connection: nginx uses 128. */
#define LIMIT_H2_VISITOR_STREAMS 128
/* Streams the edge may have open at once in one tunnel session; stock connectors allow any number,
 * beyond this the edge uses another session or answers 503. */
#define LIMIT_TUNNEL_STREAMS 8192
/* Per connection and second: peer resets, empty DATA frames, PINGs, SETTINGS, PRIORITY. A browser
 * that cancels a page resets a hundred streams at once; an attacker needs thousands. */
#define LIMIT_H2_GLITCHES_PER_SEC 400
/* HTTP/3: streams of a visitor's connection, and its unidirectional ones: control, two of QPACK, and what greases. */
#define LIMIT_H3_VISITOR_STREAMS 128
#define LIMIT_H3_UNI_STREAMS 16
/* QPACK's table, each way, and streams that may wait for it. */
#define LIMIT_H3_QPACK_TABLE 4096
#define LIMIT_H3_QPACK_BLOCKED 16
/* From GOAWAY with all streams to the one with the last: what was on the way is served. */
#define LIMIT_H3_NOTICE_MS 500
/* A PING so often while a visitor waits for an answer, for addresses behind NAT; below LIMIT_QUIC_IDLE_MS. */
#define LIMIT_H3_PING_MS 5000
/* The same from a service of our own, which all visitors share: thousands of calls a second, each with its
 * small window updates and perhaps a reset, are usual for gRPC. */
#define LIMIT_ORIGIN_H2_GLITCHES_PER_SEC 20000
/* Receive window of a stream from a service: it is near, a quarter MiB fills any line to it, and each
 * visitor who stalls makes us hold so much. */
#define LIMIT_ORIGIN_H2_STREAM_WINDOW (256 * 1024)
/* Bytes of control frames that wait for a peer who does not read (ping flood). */
#define LIMIT_H2_OUTBOUND_ACKS 1000

/* --- QUIC ------------------------------------------------------------------------------------ */

/* Receive windows start at what a short path needs and grow with the path (bandwidth times delay), as far
 * as a stalled reader may make us hold: 16 MiB of a stream carry 1 Gbit/s over 100 ms (stock connectors: 6 MiB
 * and 30 MiB). */
#define LIMIT_QUIC_STREAM_WINDOW (512 * 1024)
#define LIMIT_QUIC_STREAM_WINDOW_MAX (16 * 1024 * 1024)
#define LIMIT_QUIC_CONNECTION_WINDOW (1024 * 1024)
#define LIMIT_QUIC_CONNECTION_WINDOW_MAX (48 * 1024 * 1024)
/* Bytes of all streams of a connection that were received and not consumed. Up to here a stalled stream costs
 * the others nothing; beyond it the connection's window shrinks. 512 downloads that stand still fit in. */
#define LIMIT_QUIC_HELD_BYTES (256 * 1024 * 1024)
/* What one stream may have under way: the path's bandwidth times delay, and no more. */
#define LIMIT_QUIC_SEND_QUEUE (16 * 1024 * 1024)
/* The part of it that has not left yet, of one stream: four bursts. When all streams of a connection together
 * have more than the second waiting, each takes no more than the third. */
#define LIMIT_QUIC_UNSENT (256 * 1024)
#define LIMIT_QUIC_CONNECTION_UNSENT (16 * 1024 * 1024)
#define LIMIT_QUIC_UNSENT_CROWDED (16 * 1024)
/* DATAGRAMs of a connection that wait for the congestion window: what is older is of no use to anybody. */
#define LIMIT_QUIC_DATAGRAMS 256
/* What a connection sends in one turn before others have theirs. */
#define LIMIT_QUIC_BYTES_PER_TURN (256 * 1024)
/* Large packets that nobody acknowledges for so long, and three probe timeouts: packets are small for the second
 * time then, twice as long after each such finding, up to the third. */
#define LIMIT_QUIC_BLACK_HOLE_MS 800
#define LIMIT_QUIC_SMALL_MS 60000
#define LIMIT_QUIC_SMALL_MAX_MS (16 * 60 * 1000)
/* Silence that ends a connection: stock connectors say 5 s and ping every second. */
#define LIMIT_QUIC_IDLE_MS 15000
#define LIMIT_QUIC_KEEPALIVE_MS 1000
/* The same at a connector, which pings every second and can go on at once by another way: eight of them. */
#define LIMIT_QUIC_CONNECTOR_IDLE_MS 8000
#define LIMIT_QUIC_HANDSHAKE_MS 5000
/* ICMP says that a peer's port is closed. Time to show that this was forged, besides some round trips: ten PINGs and
 * what ngtcp2 repeats. Once shown, further words are not heard for a while. */
#define LIMIT_QUIC_DOUBT_MS 1000
#define LIMIT_QUIC_DOUBT_REST_MS 1000
/* Handshakes under way above which every new address has to answer a Retry. */
#define LIMIT_QUIC_RETRY_ABOVE 64
#define LIMIT_QUIC_CONNECTIONS 16384 /* of one endpoint */
/* Handshakes under way beyond which a first packet is dropped, which its sender repeats: each costs 40 KB. */
#define LIMIT_QUIC_HANDSHAKES 1024
/* A Retry's token must come back in this time. */
#define LIMIT_QUIC_RETRY_TOKEN_MS 10000
/* Closed connections that are remembered, to tell late packets so (RFC 9000 §10.2), and for how long at most. */
#define LIMIT_QUIC_CLOSED 4096
#define LIMIT_QUIC_CLOSED_MS 5000
/* Stateless answers other than Retry (resets, version negotiation, refusals) per second: an attacker could make us
 * send them to others. */
#define LIMIT_QUIC_STATELESS_PER_SEC 1000
/* Packets that other workers handed over and that wait for their turn. */
#define LIMIT_QUIC_HANDED_OVER 1024
/* Words of ICMP that an endpoint looks a connection up for, in a second: each costs a walk over all of them. */
#define LIMIT_QUIC_UNREACHABLE_PER_SEC 100
/* What a visitor of a raw stream has said before leaving has so long to be acknowledged before the stream's reset,
 * which would overtake it: a path's round trip, and a loss. */
#define LIMIT_QUIC_LATE_RESET_MS 1000
/* After a change of address the old socket is read for this long. */
#define LIMIT_QUIC_OLD_SOCKET_MS 2000
#define LIMIT_QUIC_OLD_SOCKETS 4
/* Taken from one socket in one turn, so that other connections have theirs. */
#define LIMIT_UDP_PACKETS_PER_TURN 256
/* The kernel's buffers of one UDP socket, as far as it allows: 4 MiB are what arrives at 1 Gbit/s while a
 * worker is busy for 30 ms. */
#define LIMIT_UDP_SOCKET_BUFFER_BYTES (4 * 1024 * 1024)

/* --- Tunnel protocol ------------------------------------------------------------------------ */

/* One Cap'n Proto message before registration; the real one is about 600 bytes. */
#define LIMIT_RPC_UNREGISTERED_BYTES (64 * 1024)
/* Afterwards: a local configuration may be large (260 KB was seen). */
#define LIMIT_RPC_BYTES (1024 * 1024)
#define LIMIT_CAPNP_SEGMENTS 16
#define LIMIT_CAPNP_DEPTH 16
/* Words read through pointers in one message, as a multiple of its size: stops small messages that
 * point at themselves. */
#define LIMIT_CAPNP_TRAVERSAL_FACTOR 8
#define LIMIT_RPC_ANSWERS 16          /* questions one control stream may have open */
#define LIMIT_FEATURES 64             /* feature strings of one connector */
#define LIMIT_FEATURE_BYTES 128       /* one of them, and version and arch */
#define LIMIT_SESSIONS_PER_TUNNEL 256 /* 64 replicas of four connections */

/* --- UDP through the tunnel ------------------------------------------------------------------ */

/* Flows of one session. Each costs the connector a socket. */
#define LIMIT_UDP_FLOWS 4096
/* Flows of a connector, all sessions together: half of the descriptors it may open, and no more than this. */
#define LIMIT_UDP_CONNECTOR_FLOWS 16384
/* What a service's answers to one flow may wait with in the kernel, as far as it allows: a program that does nothing
 * else may be kept from the processor for half a second, which is so much at 10 Mbit/s. */
#define LIMIT_UDP_PEER_BUFFER_BYTES (1024 * 1024)
/* How long what a service's name means is believed: names that move do so by the minute, and a flow may come with
 * every question to a name server. */
#define LIMIT_UDP_NAME_MS 5000
/* Silence that ends a flow when nobody says otherwise: the stock connector's 210 s. */
#define LIMIT_UDP_IDLE_MS (210 * 1000)
/* The connector is told so much more than the edge waits, so that the edge ends a flow first and no datagram
 * meets one that has just gone. */
#define LIMIT_UDP_IDLE_SLACK_MS 5000
/* Datagrams that wait for the connector's word, of one flow: a handshake's worth. */
#define LIMIT_UDP_FLOW_EARLY 16
/* And of all flows of a session together. */
#define LIMIT_UDP_EARLY_BYTES (1024 * 1024)
/* The connector's word on a flow must come in this time; datagrams that ask for it (version 3) are sent
 * again this often meanwhile. */
#define LIMIT_UDP_OPEN_MS 5000
#define LIMIT_UDP_REGISTER_AGAIN_MS 500
/* A short call on a stream of its own: the stock connector's limit. */
#define LIMIT_QUIC_RPC_MS 5000

/* --- Replicas -------------------------------------------------------------------------------- */

/* Of a request's body so much is kept until somebody has taken the request, where there are replicas that
 * could: forms and API calls. */
#define LIMIT_REPLAY_BYTES (16 * 1024)
/* A replica whose service fails so often in a row for one host, within the window, gets no requests of that
 * host: three are no accident, and few visitors have seen them. */
#define LIMIT_EJECT_FAILURES 3
#define LIMIT_EJECT_WINDOW_MS 10000
/* For so long the first time; twice as long after each probe that failed. A restart of a service takes a
 * second or two, and a visitor a minute is no load for one that is dead. */
#define LIMIT_EJECT_MS 1000
#define LIMIT_EJECT_MAX_MS 60000
/* A probe that has no answer by then is one that failed, or whose visitor left: another is sent. */
#define LIMIT_EJECT_PROBE_MS 10000
/* After one of a connector's connections has broken off, others of its kind are asked first for so long: when
 * a process or its machine dies, its other connections are dead, too, but nobody knows yet. */
#define LIMIT_SHAKY_MS 1000
/* Shares of the traffic: more than this can be said with fewer connectors. */
#define LIMIT_REPLICA_WEIGHT 1000
/* Its name for people: as a label in DNS. */
#define LIMIT_REPLICA_LABEL_BYTES 63
/* Rules of one connector whose services are checked: each is a request every few seconds. */
#define LIMIT_HEALTH_CHECKS 256
/* Hostnames in one report of theirs, with those of rules that come before a checked one. */
#define LIMIT_HEALTH_HOSTS 1024
#define LIMIT_HEALTH_REPORT_BYTES (512 * 1024)

/* --- Connections ---------------------------------------------------------------------------- */

#define LIMIT_VISITORS_PER_WORKER 65536
/* What a /48 may do: so many times what one address (IPv6: one /64) may. A company or a university has one. */
#define LIMIT_VISITOR_WIDE 8
/* Rates are of this time: a page of 500 pictures comes in a second, and then nothing for a while. */
#define LIMIT_VISITOR_BURST_SEC 5
/* Addresses of which nothing is left but that they were quick a moment ago; some 200 bytes each. Those with a
 * connection are extra, and bounded by the number of connections. */
#define LIMIT_VISITOR_ADDRESSES 65536
/* Requests of one connection that are refused one after the other before it is closed: a refusal costs an
 * answer. */
#define LIMIT_VISITOR_REFUSALS 100
/* Between two lines in the log about visitors who are refused. */
#define LIMIT_VISITOR_LOG_MS 10000
#define LIMIT_FETCH_HEAD_BYTES (64 * 1024) /* of an answer to a request of our own */
#define LIMIT_DNS_STREAMS 256 /* TCP connections per worker; the one silent longest makes room */
#define LIMIT_DNS_NOTIFIES 64 /* secondaries asked at a time: as many sockets */
#define LIMIT_DNS_UPDATES 16  /* names under way at other name servers at a time */
#define LIMIT_ACCEPTS_PER_TURN 64 /* so that a burst of connects does not starve open ones */

/* Names that get a certificate because somebody asked for them (acme-on-demand): so many at once, then one in so many
 * seconds, and so many in all. Below a wildcard route anybody can make names up, and authorities count certificates
 * (Let's Encrypt: 50 a week and domain, 300 orders in three hours). */
#define LIMIT_ACME_ASK_BURST 10
#define LIMIT_ACME_ASK_SECONDS 120
#define LIMIT_ACME_ON_DEMAND 1000

/* Deadlines in milliseconds. */
#define LIMIT_TLS_HANDSHAKE_MS 15000
#define LIMIT_REQUEST_HEAD_MS 30000   /* slow-loris: the head must be complete by then */
#define LIMIT_KEEPALIVE_IDLE_MS 75000 /* between requests of one visitor; nginx's default */
/* A visitor who is waited for, and has been slower than the setting min-body-rate for so long, is no longer: a
 * line that is worse is gone. Looked at PACE_LOOKS times meanwhile (http/pace.h). */
#define LIMIT_PACE_MS 120000
#define LIMIT_BODY_IDLE_MS 300000 /* no byte in either direction of an exchange */
/* The same for a WebSocket or another raw stream with both directions open: silence is what they are
 * for. A peer that has vanished is found by TCP keep-alive within a minute. */
#define LIMIT_RAW_IDLE_MS (24 * 60 * 60 * 1000)
/* A visitor has ended its side of a WebSocket and a stock connector, which would end both, is told only after
 * nothing has come for so long. */
#define LIMIT_STOCK_HALF_CLOSED_MS 5000
#define LIMIT_REGISTER_MS 10000 /* connector: TLS up until registered */
/* A tunnel over HTTP/2 that is silent is asked, by both ends (stock connectors never ask). A connection that a NAT has
 * forgotten, or whose edge has moved, is found within the first, one on a dead path within both together. */
#define LIMIT_TUNNEL_PING_MS 5000
#define LIMIT_TUNNEL_PONG_MS 8000
/* The host's network has changed, and a session is asked whether it lives: time for five retransmissions of TCP,
 * the last after 3 s, so that a cable that is out for a moment costs no stream. */
#define LIMIT_TUNNEL_CHECK_MS 5000
/* Whoever takes so much in each LIMIT_LINGER_MS gets the rest, however long that takes: 256 KiB at most. */
#define LIMIT_LINGER_BYTES 1024
#define LIMIT_LINGER_MS 2000 /* closing: wait for the peer to read the rest */
/* A service that has said nothing on a connection with open streams is asked whether it lives: after the
 * first of these, and then after the second, since gRPC servers take a third ping within five minutes
 * for an attack. */
#define LIMIT_ORIGIN_PING_MS 30000
#define LIMIT_ORIGIN_PING_AGAIN_MS 330000
#define LIMIT_ORIGIN_PONG_MS 15000

/* --- Public ports ---------------------------------------------------------------------------- */

/* Connections of one TCP port, over all workers, and of one visitor's address (IPv6: of one /64). An office
 * behind one address has a few hundred; each costs the edge about 100 KiB when it is busy. */
#define LIMIT_PORT_CONNECTIONS 16384
#define LIMIT_PORT_ADDRESS_CONNECTIONS 512
/* The connector's answer: as LIMIT_ACCESS_ANSWER_MS. */
#define LIMIT_PORT_ANSWER_MS 60000
/* Flows of one UDP port, and of one visitor's address: a resolver asks each question from another port, some
 * twenty in a second. The one that has been silent longest makes room. */
#define LIMIT_PORT_FLOWS 16384
#define LIMIT_PORT_ADDRESS_FLOWS 1024
/* Silence that ends a flow: every NAT on the way waits as long at least (RFC 4787 §4.3 asks for two minutes,
 * thirty seconds are common), and keep-alives of what lives longer come more often. */
#define LIMIT_PORT_FLOW_IDLE_MS 30000
/* A flow whose connector leaves: answers to what went there come for so long. */
#define LIMIT_PORT_FLOW_LEAVE_MS 1000
/* How many flows are looked at for the oldest one of an address. */
#define LIMIT_PORT_FLOW_SEARCH 64
/* Datagrams of one port between the workers: 10 MB. */
#define LIMIT_PORT_UNDER_WAY 8192
/* A port whose tunnel takes no flow, and a client whom every connector has refused, are tried again after this. */
#define LIMIT_PORT_CLOSED_MS 1000
/* Public ports of one edge: each is a socket on every worker. */
#define LIMIT_PORTS 1024
/* A port that cannot be listened on is tried again after this. */
#define LIMIT_PORT_RETRY_MS 10000

/* --- Logs ------------------------------------------------------------------------------------ */

/* Lines on their way to the thread that writes them. It wakes every 20 ms, or when there are 64 KiB; the
 * rest is room for a disk that pauses: 4 MiB are half a second of ten thousand requests each second. Memory
 * is touched when it is needed, and given back. */
#define LIMIT_LOG_QUEUE_BYTES (4 * 1024 * 1024)
/* The last part of it is for warnings and worse, the one before for everything but the access log. */
#define LIMIT_LOG_RESERVE_BYTES (64 * 1024)
/* Lines for one place that takes none just now (a stopped terminal, a full disk). */
#define LIMIT_LOG_PENDING_BYTES (64 * 1024)
/* How long a terminal or pipe may take none before lines for it are dropped; also the longest that it
 * holds up the end of the program. */
#define LIMIT_LOG_STALL_MS 1000
/* What --log-directory keeps: as the stock connector, 1 MB and five older files. */
#define LIMIT_LOG_FILE_BYTES (1024 * 1024)
#define LIMIT_LOG_OLD_FILES 5

/* --- adit access ---------------------------------------------------------------------------- */

/* Local connections carried at once by one `adit access tcp --url`; each holds about 64 KiB. */
#define LIMIT_ACCESS_STREAMS 1024
#define LIMIT_ACCESS_CONNECT_MS 15000 /* TCP, and a proxy's answer */
/* The answer to the handshake: the connector may take its connectTimeout (30 s) to reach the service. */
#define LIMIT_ACCESS_ANSWER_MS 60000
/* The body of an answer that is no WebSocket: the edge's reason is a few hundred bytes. */
#define LIMIT_ACCESS_REASON_BYTES (16 * 1024)
#define LIMIT_ACCESS_REASON_MS 3000
#define LIMIT_ACCESS_PING_MS 30000 /* NATs forget idle connections after a minute or more */
/* After the end of what we send to a far end that knows no half-close: silence from there for this long, and
 * the answer is taken to be complete. */
#define LIMIT_ACCESS_QUIET_MS 500
#define LIMIT_ACCESS_CLOSE_MS 3000 /* after our close frame: what still comes, and the peer's own */
#define LIMIT_ACCESS_DRAIN_MS 5000 /* streams that run at the first signal */

/* --- Configuration -------------------------------------------------------------------------- */

#define LIMIT_CONFIG_BYTES (4 * 1024 * 1024)
#define LIMIT_CONFIG_DEPTH 32
#define LIMIT_INGRESS_RULES 10000
/* Work of one path regular expression on one path (PCRE2 match limit). */
#define LIMIT_REGEX_MATCH 100000
#define LIMIT_REGEX_DEPTH 20000

/* --- Tokens --------------------------------------------------------------------------------- */

/* One signed token. Access's are 1 to 2 KiB; groups of an identity provider can make them several. */
#define LIMIT_JWT_BYTES (16 * 1024)
/* An issuer's keys: Access publishes two, with certificates beside them, in about 6 KiB. */
#define LIMIT_KEY_SET_BYTES (128 * 1024)
#define LIMIT_KEY_SET_KEYS 64

/* --- Access, checked by the connector ------------------------------------------------------- */

/* Requests that wait for a team's keys. Each holds its head and what of its body fits a stream's
 * window; this happens once per team and start, or when a token names an unknown key. */
#define LIMIT_ACCESS_WAITING 512
/* They wait this long for a fetch, then they are refused. */
#define LIMIT_ACCESS_WAIT_MS 10000
/* Threads of the pool (four, shared with name look-ups) that fetch keys at once. */
#define LIMIT_ACCESS_FETCHES 2

/* --- Control plane -------------------------------------------------------------------------- */

/* Rows in one page of a REST list: a thousand are about half a megabyte of JSON. */
#define LIMIT_API_PAGE 1000
/* Signed-in browsers. It takes a password to add one, so nobody else can fill the table. */
#define LIMIT_SIGNIN_SESSIONS 1024
/* Wrong passwords of one address (IPv6: of one /64) in LIMIT_SIGNIN_WINDOW_SEC: ten in five minutes
 * lets people mistype, and makes a dictionary of a million words take a year. */
#define LIMIT_SIGNIN_TRIES 10
#define LIMIT_SIGNIN_WINDOW_SEC 300
/* Addresses remembered for that, of about 100 bytes; the one seen longest ago is forgotten first. */
#define LIMIT_SIGNIN_ADDRESSES 4096
/* Over all addresses: each try costs a tenth of a second of argon2id on the one control thread, and
 * many guessers together must not stop the API. A bucket of this many that refills per second. */
#define LIMIT_SIGNIN_BURST 20
#define LIMIT_SIGNIN_PER_SEC 2
/* Polls of `adit tunnel login` that are held. Anybody may poll; a team behind one address logs in a
 * few at a time. */
#define LIMIT_LOGIN_WAITERS 256
#define LIMIT_LOGIN_WAITERS_PER_ADDRESS 16
/* Approved certificates that nobody fetched yet; each administrator has one login open, rarely two. */
#define LIMIT_LOGIN_PENDING 64

/* Requests that wait while a successor starts; a person or two and their scripts. */
#define LIMIT_API_FROZEN 64

/* --- Takeover: an edge and its successor ----------------------------------------------------- */

/* Who connects to the takeover socket says so at once; between two processes of one host. */
#define LIMIT_TAKEOVER_ANSWER_MS 10000
/* The successor opens the store, reads the routes and makes certificates meanwhile; nothing is written. */
#define LIMIT_TAKEOVER_START_MS 60000
/* Sockets that are handed over: as many descriptors as a process may have by default. */
#define LIMIT_TAKEOVER_SOCKETS 1024
/* What is kept in memory only: LIMIT_SIGNIN_SESSIONS of about 300 bytes and LIMIT_LOGIN_PENDING certificates of
 * about 2 KiB. */
#define LIMIT_TAKEOVER_STATE_BYTES (1024 * 1024)
/* After a takeover connectors come over within a second; stock ones dial again up to 20 s after their connection
 * has ended. Until then requests for tunnels that nobody serves yet wait, so long and so many per worker (some 20 KiB
 * each). */
#define LIMIT_HOLD_MS 25000
#define LIMIT_HOLD_REQUESTS 4096
/* So long a leaving edge whose visitors are served waits for its connectors to have gone elsewhere. */
#define LIMIT_MOVE_MS 5000
/* Connectors that cannot open a new connection before the old one ends give up one after the other, so often. */
#define LIMIT_MOVE_STEP_MS 2000

/* --- Access --------------------------------------------------------------------------------- */

/* The audit log: what a year and a month hold, for audits are yearly; and, as failed sign-ins are in it and a stranger can
 * make some every second, half a million lines (150 MiB or so). */
#define LIMIT_AUDIT_DAYS 400
#define LIMIT_AUDIT_LINES 500000
/* How long a session that is over is remembered: what was opened in it may still run, and is judged by whose it is. */
#define LIMIT_SESSION_REST_DAYS 7
/* Sign-ins that are at an identity provider; the oldest give way. Each has some two KiB. */
#define LIMIT_ACCESS_FLOWS 4096
/* A database of countries (edge/access/countries.h), which is held in memory: those of countries have 10 MB, those of
 * cities 130. */
#define LIMIT_COUNTRIES_BYTES ((int64_t)512 * 1024 * 1024)

/* --- The key process ------------------------------------------------------------------------- */

/* Private keys that it holds, of some 2 KiB each: one for each certificate that is served, twice while one snapshot follows
 * another. */
#define LIMIT_KEY_PROCESS_KEYS 131072
/* It answers within a millisecond; one that has been stopped (a debugger, a machine that swaps) is given up after so long. */
#define LIMIT_KEY_PROCESS_SECONDS 10
