-- endpoint: replaces a webhook endpoint of a tenant, unless someone else changed it meanwhile.
-- KEYS tenant's endpoints, subscribers, how the endpoint fares
-- ARGV tenant, id, its record as it was read ("" none), the new record ("" removes it), endpoints allowed
-- Returns 1, 0 where the record is another by now, or -1 where there are too many
if (redis.call("HGET", KEYS[1], ARGV[2]) or "") ~= ARGV[3] then return 0 end
-- The tenant's own secret lies among them and is none.
local count = redis.call("HLEN", KEYS[1]) - redis.call("HEXISTS", KEYS[1], "default")
if ARGV[3] == "" and count >= tonumber(ARGV[5]) then return -1 end
if ARGV[4] == "" then
  redis.call("HDEL", KEYS[1], ARGV[2])
else
  redis.call("HSET", KEYS[1], ARGV[2], ARGV[4])
  -- One that is enabled again, or stands elsewhere, has not failed yet: else its first failure would disable it.
  if ARGV[3] ~= "" then
    local before, after = cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
    if before.url ~= after.url or (before.disabled ~= "" and after.disabled == "") then
      redis.call("HDEL", KEYS[3], "failing_ms")
    end
  end
end
local wanted = {}
for _, text in ipairs(redis.call("HVALS", KEYS[1])) do
  local one = cjson.decode(text)
  if one.disabled == "" then
    for _, event in ipairs(one.events) do wanted[event] = true end
  end
end
local events = {}
for event in pairs(wanted) do events[#events + 1] = event end
if #events == 0 then
  redis.call("HDEL", KEYS[2], ARGV[1])
else
  redis.call("HSET", KEYS[2], ARGV[1], table.concat(events, " "))
end
return 1
