{
  description = "Publish services behind NAT and firewalls through tunnels of your own";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      forSystems = nixpkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" ];
      package = system: nixpkgs.legacyPackages.${system}.callPackage ./packaging/nixos/package.nix { };
    in
    {
      packages = forSystems (system: { default = package system; });
      nixosModules.default = import ./packaging/nixos;
    };
}
