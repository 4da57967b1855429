# What neither program may do, as in the units of `service install` (docs/services.md).
let
  common = {
    UMask = "0077";
    NoNewPrivileges = true;
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    RestrictNamespaces = true;
    RestrictAddressFamilies = [ "AF_INET" "AF_INET6" "AF_UNIX" "AF_NETLINK" ];
    SystemCallArchitectures = "native";
    SystemCallFilter = [ "@system-service" "~@privileged @resources" ];
    SystemCallErrorNumber = "EPERM";
    KeyringMode = "private";
    RemoveIPC = true;
    ProtectSystem = "strict";
    ProtectHome = true;
    PrivateTmp = true;
    PrivateDevices = true;
    DevicePolicy = "closed";
    ProtectProc = "invisible";
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    LimitNOFILE = 65536;
  };
in
{
  connector = common // {
    DynamicUser = true;
    PrivateUsers = true;
    CapabilityBoundingSet = "";
    AmbientCapabilities = "";
    TasksMax = 64;
  };
  # It binds 80 and 443, and keeps its state.
  edge = common // {
    DynamicUser = true;
    StateDirectory = "adit-edge";
    StateDirectoryMode = "0700";
    CapabilityBoundingSet = "CAP_NET_BIND_SERVICE";
    AmbientCapabilities = "CAP_NET_BIND_SERVICE";
    TasksMax = 512;
  };
}
