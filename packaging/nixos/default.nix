{ imports = [ ./adit.nix ./adit-edge.nix ]; }
