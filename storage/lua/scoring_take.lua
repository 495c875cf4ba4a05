-- scoring_take: the next scoring to be driven: one whose driver died, else the oldest of the tenant of whom the fewest are
-- driven, and who has waited longest for a turn. Some wait long for workers: no tenant's keep all the seats.
-- KEYS waiting scorings, driven scorings, tenants' turns, beginning of scorings' keys
-- ARGV now_ms, until when it is leased, how many of one tenant's may be driven (0: any number)
-- Returns {id, epoch}, or nil where there is none
local function take(member)
  local id = string.match(member, "/(.*)$")
  redis.call("ZREM", KEYS[1], member)
  if redis.call("EXISTS", KEYS[4] .. id) == 0 then
    redis.call("ZREM", KEYS[2], member)
    return nil
  end
  redis.call("ZADD", KEYS[2], ARGV[2], member)
  return {id, redis.call("HINCRBY", KEYS[4] .. id, "epoch", 1)}
end
for _, member in ipairs(redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", ARGV[1])) do
  local taken = take(member)
  if taken then return taken end
end
local driven = {}
for _, member in ipairs(redis.call("ZRANGE", KEYS[2], 0, -1)) do
  local tenant = string.match(member, "^[^/]*")
  driven[tenant] = (driven[tenant] or 0) + 1
end
local turns = {}
local function before(one, other)
  local mine, theirs = driven[one] or 0, driven[other] or 0
  if mine ~= theirs then return mine < theirs end
  return turns[one] < turns[other]
end
while true do
  local best, first, member = nil, nil, redis.call("ZRANGEBYLEX", KEYS[1], "-", "+", "LIMIT", 0, 1)[1]
  -- From tenant to tenant: 0 comes right after the slash.
  while member do
    local tenant = string.match(member, "^[^/]*")
    turns[tenant] = tonumber(redis.call("HGET", KEYS[3], tenant)) or 0
    local room = ARGV[3] == "0" or (driven[tenant] or 0) < tonumber(ARGV[3])
    if room and (not best or before(tenant, best)) then best, first = tenant, member end
    member = redis.call("ZRANGEBYLEX", KEYS[1], "[" .. tenant .. "0", "+", "LIMIT", 0, 1)[1]
  end
  if not first then return nil end
  local taken = take(first)
  if taken then
    redis.call("HSET", KEYS[3], best, redis.call("HINCRBY", KEYS[3], "", 1))
    return taken
  end
end
