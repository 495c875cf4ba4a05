-- scoring_advance: the driver that holds a scoring notes how far it is, all of it or nothing, and keeps its lease.
-- KEYS scoring, its shards, its folded shards, its ended jobs, driven scorings, due
-- ARGV id, epoch, now_ms, until when the lease runs, status to move to ("" none), the statuses it may come from (separated
--      by spaces), event to tell of ("" none), then in MessagePack the fields to set {name, value, …} and the commands to
--      do {name, number of the key, arguments …}
-- Returns "stale" where another holds it by now, else the status that stands after the call
local held = redis.call("HMGET", KEYS[1], "status", "tenant", "epoch", "webhook")
if not held[1] or held[3] ~= ARGV[2] then return "stale" end
local status, moves = held[1], false
if ARGV[5] ~= "" then
  -- Canceled meanwhile: then this move is none, and neither is what comes with it.
  for from in string.gmatch(ARGV[6], "%S+") do moves = moves or from == status end
  if not moves then return status end
  status = ARGV[5]
end
local fields = cmsgpack.unpack(ARGV[8])
if #fields > 0 then redis.call("HSET", KEYS[1], unpack(fields)) end
for _, command in ipairs(cmsgpack.unpack(ARGV[9])) do
  redis.call(command[1], KEYS[command[2]], unpack(command, 3))
end
if moves and (status == "completed" or status == "failed" or status == "canceled") then
  conclude(KEYS[1], ARGV[1], KEYS[5], KEYS[6], status, tonumber(ARGV[3]))
  return status
end
if moves then redis.call("HSET", KEYS[1], "status", status, status .. "_ms", ARGV[3]) end
if ARGV[7] ~= "" then emit(KEYS[1], ARGV[1], ARGV[7], held[4], tonumber(ARGV[3])) end
-- Let go of meanwhile by this very driver, or erased, it is not taken up again.
redis.call("ZADD", KEYS[5], "XX", ARGV[4], held[2] .. "/" .. ARGV[1])
return status
