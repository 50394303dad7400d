"""What Debian's cloud-init finds out of its machine by a data source, as JSON: python3 cloud-init.py OpenStack|OpenStackLocal|Ec2 DIRECTORY.

All of it is cloud-init's own code. What a machine shows of its hardware is not here: a namespace has none, so it is said that Nova made it."""
import importlib
import json
import logging
import sys

from cloudinit import distros, dmi, helpers, util
from cloudinit.net.network_state import parse_net_config_data

logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)
name, directory = sys.argv[1:3]
dmi.read_dmi_data = lambda key: {"system-product-name": "OpenStack Nova"}.get(key)
module = importlib.import_module("cloudinit.sources.DataSource" + name.removesuffix("Local"))
config = {**util.get_builtin_cfg(), "datasource_list": ["OpenStack", "Ec2"], "datasource": {"Ec2": {"strict_id": False}}}
paths = helpers.Paths({"cloud_dir": directory, "run_dir": directory})
source = getattr(module, "DataSource" + name)(config, distros.fetch("debian")("debian", config, paths), paths)
found = source.get_data()
json.dump({
    "found": found, "instance_id": source.get_instance_id(), "hostname": source.get_hostname().hostname, "keys": source.get_public_ssh_keys(),
    "user_data": (source.get_userdata_raw() or b"").decode(), "metadata": source.metadata, "network": [*parse_net_config_data(source.network_config).iter_interfaces()], "ec2": getattr(source, "ec2_metadata", None) or None,
}, sys.stdout, default=str)
