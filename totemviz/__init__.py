"""totemviz: step through a real Proxmox VE cluster, token by token, in your terminal."""

__version__ = "0.1.0"
