# services.adit: connectors. Shaped like services.cloudflared, so that a configuration moves by renaming
# `services.cloudflared` to `services.adit`; docs/nixos.md says what is different.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.adit;
  rules = import ./rules.nix;
  hardening = import ./hardening.nix;
  inherit (lib) mkOption types;

  unitName = name: "adit-tunnel-${name}";

  nullOr =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };

  json = types.attrsOf types.anything;

  # Every key of originRequest that the program knows may be said; those below are checked here already.
  originRequest = mkOption {
    description = "How services are spoken to: see docs/compatibility.md for all keys.";
    default = { };
    type = types.submodule {
      freeformType = json;
      options = {
        connectTimeout = nullOr types.str "How long a new connection to the service may take: `30s`.";
        tlsTimeout = nullOr types.str "How long its TLS handshake may take: `10s`.";
        tcpKeepAlive = nullOr types.str "Interval of TCP keep-alive probes: `30s`.";
        noHappyEyeballs = nullOr types.bool "Do not race IPv4 and IPv6.";
        keepAliveConnections = nullOr types.ints.unsigned "Idle connections that are kept.";
        keepAliveTimeout = nullOr types.str "How long they are kept: `1m30s`.";
        httpHostHeader = nullOr types.str "The Host header that the service gets.";
        originServerName = nullOr types.str "The name in the service's certificate.";
        caPool = nullOr (types.either types.str types.path) "PEM file with the authority of the service's certificate.";
        noTLSVerify = nullOr types.bool "Accept any certificate of the service.";
        disableChunkedEncoding = nullOr types.bool "No chunked bodies to the service.";
        proxyAddress = nullOr types.str "Accepted, and without effect, as it is in cloudflared.";
        proxyPort = nullOr types.port "Accepted, and without effect, as it is in cloudflared.";
        proxyType = nullOr (types.enum [ "" "socks" ]) "`socks`: the rule is a SOCKS5 proxy.";
        matchSNItoHost = nullOr types.bool "The name in the TLS handshake is that of the request.";
        http2Origin = nullOr types.bool "Speak HTTP/2 with the service.";
      };
    };
  };

  rule = types.submodule {
    freeformType = json;
    options = {
      inherit originRequest;
      service = nullOr types.str "Where requests go: `http://localhost:80`, `unix:/run/app.sock`, `ssh://localhost:22`, `http_status:404`…";
      path = nullOr types.str "Regular expression that paths have to match.";
    };
  };

  ruleWithHost = types.submodule {
    freeformType = json;
    options = {
      inherit originRequest;
      hostname = nullOr types.str "Hostname, or `*.example.com`; every one without it.";
      service = mkOption {
        type = types.str;
        description = "Where requests go.";
      };
      path = nullOr types.str "Regular expression that paths have to match.";
    };
  };

  certificateFile = nullOr types.path ''
    The certificate that `adit tunnel login` fetched. Needed only to look up a tunnel by its name, which credentials make
    unnecessary.
  '';

  tunnelModule =
    { name, config, ... }:
    {
      options = {
        inherit certificateFile originRequest;

        credentialsFile = nullOr types.path "What `adit tunnel create` wrote. Read by systemd as root.";
        tokenFile = nullOr types.path "File with what `adit tunnel token` prints. Read by systemd as root.";
        token = nullOr types.str ''
          The token itself. It ends up in the Nix store, where everybody can read it: use tokenFile.
        '';
        caCertificate = nullOr types.path ''
          PEM file with the authority that signed the edge's certificate. Credentials and tokens of adit-edge carry it.
        '';
        edge = mkOption {
          type = types.listOf types.str;
          default = [ ];
          example = [ "edge.example.com:443" ];
          description = "Addresses of the edge. Default: what credentials or token carry.";
        };
        default = mkOption {
          type = types.str;
          default = "http_status:404";
          description = "What answers when no rule matches.";
        };
        ingress = mkOption {
          type = types.either (types.listOf ruleWithHost) (types.attrsOf (types.either types.str rule));
          default = { };
          example = {
            "app.example.com" = "http://localhost:8080";
            "*.example.com" = {
              service = "https://localhost:8443";
              originRequest.noTLSVerify = true;
            };
          };
          description = ''
            Rules by hostname, wildcards after the others; or a list of rules in the order that counts, which can hold several
            paths of one hostname.
          '';
        };
        warp-routing.enabled = nullOr types.bool "Accepted, and without effect, as it is in cloudflared.";
        edgeIPVersion = mkOption {
          type = types.enum [ "auto" "4" "6" ];
          default = "auto";
          description = "IP version of connections to the edge.";
        };
        protocol = mkOption {
          type = types.enum [ "auto" "http2" "quic" ];
          default = "auto";
          description = "How to speak to the edge.";
        };
        settings = mkOption {
          type = json;
          default = { };
          example = { metrics = "127.0.0.1:20241"; };
          description = "Further keys of config.yml, as they are written there. They win.";
        };
        configuration = mkOption {
          type = json;
          readOnly = true;
          description = "What the program reads, made of the above.";
          default = rules.settings {
            inherit name;
            unit = unitName name;
            tunnel = config;
          };
        };
      };
    };

  secretOf =
    tunnel:
    if tunnel.credentialsFile != null then
      "credentials.json:${tunnel.credentialsFile}"
    else if tunnel.tokenFile != null then
      "token:${tunnel.tokenFile}"
    else if tunnel.token != null then
      "token:${pkgs.writeText "adit-token" tunnel.token}"
    else
      null;

  certificateOf =
    tunnel: if tunnel.certificateFile != null then tunnel.certificateFile else cfg.certificateFile;

  service =
    name: tunnel:
    let
      file = pkgs.writeText "adit-${name}.json" (builtins.toJSON tunnel.configuration);
      secret = secretOf tunnel;
      certificate = certificateOf tunnel;
      hasToken = tunnel.tokenFile != null || tunnel.token != null;
    in
    {
      description = "adit: connector of the tunnel ${name}";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];
      environment =
        lib.optionalAttrs (certificate != null) { TUNNEL_ORIGIN_CERT = "%d/cert.pem"; }
        // lib.optionalAttrs (tunnel.caCertificate != null) { TUNNEL_CACERT = "%d/ca.pem"; };
      serviceConfig = hardening.connector // {
        Type = "notify";
        TimeoutStartSec = "infinity";
        WatchdogSec = 60;
        ExecStart =
          "${cfg.package}/bin/adit --no-autoupdate --config ${file} tunnel run"
          + lib.optionalString hasToken " --token-file %d/token";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        Restart = "on-failure";
        RestartSec = 5;
        TimeoutStopSec = "3min";
        LoadCredential =
          lib.optional (secret != null) secret
          ++ lib.optional (certificate != null) "cert.pem:${certificate}"
          ++ lib.optional (tunnel.caCertificate != null) "ca.pem:${tunnel.caCertificate}";
      };
    };
in
{
  options.services.adit = {
    enable = lib.mkEnableOption "adit, the connector of your own tunnels";
    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = "pkgs.callPackage ./package.nix { }";
      description = "The package with bin/adit.";
    };
    inherit certificateFile;
    tunnels = mkOption {
      type = types.attrsOf (types.submodule tunnelModule);
      default = { };
      description = "Tunnels by name or UUID.";
    };
  };

  config = lib.mkIf cfg.enable {
    warnings = lib.concatLists (
      lib.mapAttrsToList (
        name: tunnel:
        lib.optional (tunnel.token != null)
          "services.adit.tunnels.${name}.token is in the Nix store, where everybody can read it: use tokenFile"
      ) cfg.tunnels
    );

    assertions = lib.concatLists (
      lib.mapAttrsToList (name: tunnel: [
        {
          assertion =
            lib.count (x: x != null) [
              tunnel.token
              tunnel.tokenFile
              tunnel.credentialsFile
            ] == 1;
          message = "services.adit.tunnels.${name}: say exactly one of credentialsFile, tokenFile and token";
        }
        {
          assertion = builtins.match "[A-Za-z0-9:_.-]+" name != null;
          message = "services.adit.tunnels.${name}: the name is that of a unit, too, which has letters, digits and :_.- only; use the tunnel's UUID";
        }
      ]) cfg.tunnels
    );

    environment.systemPackages = [ cfg.package ];

    systemd.targets = lib.mapAttrs' (
      name: _:
      lib.nameValuePair (unitName name) {
        description = "adit: the tunnel ${name}";
        requires = [ "${unitName name}.service" ];
        after = [ "${unitName name}.service" ];
        unitConfig.StopWhenUnneeded = true;
      }
    ) cfg.tunnels;

    systemd.services = lib.mapAttrs' (
      name: tunnel: lib.nameValuePair (unitName name) (service name tunnel)
    ) cfg.tunnels;
  };
}
