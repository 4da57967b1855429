# services.adit-edge: the public side. docs/nixos.md shows a whole host.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.adit-edge;
  hardening = import ./hardening.nix;
  inherit (lib) mkOption types;
  state = "/var/lib/adit-edge";
  file = pkgs.writeText "edge.yml" (builtins.toJSON cfg.settings);
  adit-edge = "${cfg.package}/bin/adit-edge";

  # "unix:…" and "off" open no port of the host.
  portsOf =
    key: preset:
    lib.concatMap (
      address:
      let
        found = builtins.match ".*:([0-9]+)" address;
      in
      lib.optional (found != null) (lib.toInt (builtins.head found))
    ) (lib.toList (cfg.settings.${key} or preset));
  tcp = portsOf "https" ":443" ++ portsOf "http" ":80" ++ portsOf "tunnel" ":7844" ++ dns;
  udp = portsOf "https" ":443" ++ portsOf "tunnel" ":7844" ++ dns;
  dns = portsOf "dns" "off";
in
{
  options.services.adit-edge = {
    enable = lib.mkEnableOption "adit-edge, the public side of your own tunnels";
    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = "pkgs.callPackage ./package.nix { }";
      description = "The package with bin/adit-edge.";
    };
    zone = mkOption {
      type = types.str;
      example = "example.com";
      description = "The first domain whose hostnames this edge serves.";
    };
    controlHost = mkOption {
      type = types.str;
      default = "adit.${cfg.zone}";
      defaultText = "adit.ZONE";
      description = "Where the API and the pages live.";
    };
    adminEmail = mkOption {
      type = types.str;
      default = "admin@${cfg.zone}";
      defaultText = "admin@ZONE";
      description = "The first administrator. `adit-edge user link` prints a link to sign in once.";
    };
    settings = mkOption {
      type = types.attrsOf (types.oneOf [ types.str types.int types.bool (types.listOf types.str) ]);
      default = { };
      example = {
        acme-directory = "letsencrypt";
        acme-email = "admin@example.com";
        log-format = "json";
      };
      description = "edge.yml, as `adit-edge help run` explains it. It is in the Nix store: no secrets here.";
    };
    credentials = mkOption {
      type = types.attrsOf types.path;
      default = { };
      example = { eab = "/run/secrets/acme-eab"; };
      description = "Files with secrets by name; a setting reads one as `credential:NAME`.";
    };
    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Open the ports of https, http, tunnel and dns, UDP as well where it is used.";
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];

    networking.firewall = lib.mkIf cfg.openFirewall {
      allowedTCPPorts = lib.unique tcp;
      allowedUDPPorts = lib.unique udp;
    };

    # What QUIC asks for; the kernel's preset is too small for many connections on one socket.
    boot.kernel.sysctl = {
      "net.core.rmem_max" = lib.mkDefault 7500000;
      "net.core.wmem_max" = lib.mkDefault 7500000;
    };

    systemd.services.adit-edge = {
      description = "adit-edge: the public side of tunnels";
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];
      environment.ADIT_EDGE_DATA = state;
      serviceConfig = hardening.edge // {
        Type = "notify";
        TimeoutStartSec = "5min";
        WatchdogSec = 60;
        # What is there stays. It prints a link to sign in, which belongs into no journal.
        ExecStartPre =
          "${adit-edge} init --data ${state} --config ${file} --zone ${cfg.zone}"
          + " --control ${cfg.controlHost} --admin ${cfg.adminEmail}";
        ExecStart = "${adit-edge} run --data ${state} --config ${file}";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        StandardOutput = "null";
        Restart = "on-failure";
        RestartSec = 2;
        TimeoutStopSec = "11min";
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
      };
    };
  };
}
