-- Wireshark dissector for the overlay's encapsulation on UDP 4790 (docs/WIRE.md): VXLAN-GPE whose next protocol is
-- 0xFB extension, 0xFC ESP, 0xFD GRE or 0xFE MPLS. The VXLAN header itself stays with Wireshark's own dissector;
-- this file names the bits that GPE calls reserved and goes on behind the header.
--
--   tshark -X lua_script:docs/wireshark/selvage.lua -r capture.pcap
--
-- To read inside ESP, give Wireshark the keys (Preferences, Protocols, ESP): encryption
-- "AES-GCM with 16 octet ICV [RFC4106]", key = key and salt. Wireshark 4.0 calculates the ICV without the upper half
-- of an extended sequence number, so it may call a good ICV wrong; the decrypted content is right.

local NEXT = { [0x01] = "IPv4", [0x02] = "IPv6", [0x03] = "Ethernet", [0x04] = "NSH", [0x05] = "MPLS",
               [0xFB] = "extension", [0xFC] = "ESP", [0xFD] = "GRE", [0xFE] = "MPLS" }
local GRE_IP_PROTOCOL = 47
local ETHERNET_LABEL = 17
local SHORTEST_EXTENSION = 4

local overlay = Proto("selvage", "Selvage overlay header")
local header = {
  flags2 = ProtoField.uint8("selvage.flags2", "Flags 2", base.HEX),
  v4 = ProtoField.bool("selvage.flags2.v4", "IPv4 outside", 8, nil, 0x01),
  v6 = ProtoField.bool("selvage.flags2.v6", "IPv6 outside", 8, nil, 0x02),
  trace = ProtoField.bool("selvage.flags2.trace", "Trace", 8, nil, 0x04),
  crc = ProtoField.bool("selvage.flags2.crc", "CRC present", 8, nil, 0x08),
  entropy = ProtoField.bool("selvage.flags2.entropy", "Entropy in source port", 8, nil, 0x40),
  sdwan = ProtoField.bool("selvage.flags2.sdwan", "SD-WAN", 8, nil, 0x80),
  wq = ProtoField.uint8("selvage.wq_id", "Destination work queue", base.DEC),
  window = ProtoField.uint8("selvage.window", "Window", base.DEC, nil, 0xC0),
  tc = ProtoField.uint8("selvage.tc", "Traffic class", base.DEC, nil, 0x30),
}
overlay.fields = header
local FLAGS = { "v4", "v6", "trace", "crc", "entropy", "sdwan" }

local extension = Proto("selvage_ext", "Selvage extension header")
local ext = {
  type = ProtoField.uint8("selvage_ext.type", "Type", base.DEC),
  length = ProtoField.uint8("selvage_ext.length", "Length (words after the first)", base.DEC),
  reserved = ProtoField.uint8("selvage_ext.reserved", "Reserved", base.HEX),
  next = ProtoField.uint8("selvage_ext.next_proto", "Next protocol", base.HEX, NEXT),
  path = ProtoField.uint8("selvage_ext.path_id", "Path", base.DEC),
  flags = ProtoField.uint8("selvage_ext.flags", "Flags", base.HEX),
  sequence = ProtoField.uint16("selvage_ext.sequence", "Path sequence", base.DEC),
  more = ProtoField.bytes("selvage_ext.more", "Further words"),
}
extension.fields = ext
local short = ProtoExpert.new("selvage_ext.short", "Extension is longer than the packet", expert.group.MALFORMED, expert.severity.ERROR)
extension.experts = { short }

-- Fields that Wireshark's dissector has already read from the header in front of ours.
local reserved16 = Field.new("vxlan.reserved_16")
local reserved8 = Field.new("vxlan.reserved8")

local protocols = DissectorTable.get("vxlan.next_proto")
local ip_protocols = DissectorTable.get("ip.proto")

local function innermost(field)
  local all = { field() }
  return all[#all]
end

-- Once per packet, by whichever of our dissectors comes first.
local function show_header(pinfo, tree)
  if pinfo.private["selvage_shown"] then return end
  pinfo.private["selvage_shown"] = "1"
  local first, last = innermost(reserved16), innermost(reserved8)
  if not first or not last then return end
  local flags2, wq, class = first.range(0, 1), first.range(1, 1), last.range
  local branch = tree:add(overlay, first.range)
  local bits = branch:add(header.flags2, flags2)
  for _, name in ipairs(FLAGS) do bits:add(header[name], flags2) end
  branch:add(header.wq, wq)
  branch:add(header.window, class)
  branch:add(header.tc, class)
end

local function hand_on(next_protocol, tvb, pinfo, tree)
  local dissector = protocols:get_dissector(next_protocol) or Dissector.get("data")
  return dissector:call(tvb, pinfo, tree)
end

-- Type | Length | Reserved | Next protocol, then a word of path id, flags and sequence; unknown words are skipped.
function extension.dissector(tvb, pinfo, tree)
  show_header(pinfo, tree)
  if tvb:len() < SHORTEST_EXTENSION then
    tree:add_proto_expert_info(short)
    return 0
  end
  local size = SHORTEST_EXTENSION + 4 * tvb(1, 1):uint()
  local branch = tree:add(extension, tvb(0, math.min(size, tvb:len())))
  branch:add(ext.type, tvb(0, 1))
  branch:add(ext.length, tvb(1, 1))
  branch:add(ext.reserved, tvb(2, 1))
  branch:add(ext.next, tvb(3, 1))
  if size > tvb:len() then
    branch:add_proto_expert_info(short)
    return tvb:len()
  end
  if size >= 8 then
    branch:add(ext.path, tvb(4, 1))
    branch:add(ext.flags, tvb(5, 1))
    branch:add(ext.sequence, tvb(6, 2))
  end
  if size > 8 then branch:add(ext.more, tvb(8, size - 8)) end
  if size == tvb:len() then return size end
  return size + hand_on(tvb(3, 1):uint(), tvb(size):tvb(), pinfo, tree)
end

-- Straight behind the VXLAN header, without extension: the same protocols, with the header shown first.
local function straight(name, description, dissector)
  local proto = Proto(name, description)
  function proto.dissector(tvb, pinfo, tree)
    show_header(pinfo, tree)
    return dissector:call(tvb, pinfo, tree)
  end
  return proto
end

protocols:add(0xFB, extension)
protocols:add(0xFC, straight("selvage_esp", "Selvage ESP", Dissector.get("esp")))
protocols:add(0xFD, straight("selvage_gre", "Selvage GRE", ip_protocols:get_dissector(GRE_IP_PROTOCOL)))
protocols:add(0xFE, straight("selvage_mpls", "Selvage MPLS", Dissector.get("mpls")))
DissectorTable.get("mpls.label"):add(ETHERNET_LABEL, Dissector.get("eth_withoutfcs"))
