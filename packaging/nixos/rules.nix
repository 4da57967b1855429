# What `adit tunnel run` reads as config.yml, from what services.adit.tunnels.<name> says. Needs nothing but Nix
# itself, so that it can be tried without nixpkgs.
let
  isSet = builtins.isAttrs;

  # Options that were not set are null: they must not reach the program, for null is a value there.
  withoutNulls =
    value:
    if builtins.isList value then
      map withoutNulls value
    else if isSet value then
      builtins.listToAttrs (
        builtins.concatMap (
          name:
          let
            v = withoutNulls value.${name};
          in
          if v == null || v == { } then [ ] else [ { inherit name; value = v; } ]
        ) (builtins.attrNames value)
      )
    else
      value;

  # A list is in the order that counts. Of an attribute set by hostname, those with a wildcard come last: the
  # program takes the first rule that matches.
  rules =
    ingress:
    let
      names = builtins.attrNames ingress;
      isWildcard = name: builtins.substring 0 1 name == "*";
      ordered =
        builtins.filter (name: !isWildcard name) names
        ++ builtins.sort (a: b: builtins.stringLength a > builtins.stringLength b) (
          builtins.filter isWildcard names
        );
      rule =
        name:
        { hostname = name; }
        // (if isSet ingress.${name} then ingress.${name} else { service = ingress.${name}; });
    in
    if builtins.isList ingress then ingress else map rule ordered;
in
{
  inherit withoutNulls;

  # unit: name of the systemd unit, whose credentials the program reads.
  settings =
    {
      name,
      unit,
      tunnel,
    }:
    withoutNulls (
      {
        tunnel = name;
        inherit (tunnel) protocol originRequest;
        edge-ip-version = tunnel.edgeIPVersion;
        warp-routing = tunnel.warp-routing;
        ingress = rules tunnel.ingress ++ [ { service = tunnel.default; } ];
      }
      // (
        if tunnel.credentialsFile != null then
          { credentials-file = "/run/credentials/${unit}.service/credentials.json"; }
        else
          { }
      )
      // (if tunnel.edge != [ ] then { inherit (tunnel) edge; } else { })
      // tunnel.settings
    );
}
