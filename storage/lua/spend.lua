-- spend: a request of a tenant takes its share of what the tenant may use a second (token buckets that hold one second).
-- KEYS bucket
-- ARGV requests a second (0: no limit), bytes a second (0: no limit), bytes of this request, "1" where it was let in before
-- Returns milliseconds until it would be let in (0: it is), and "requests" or "bytes"
-- Seconds that a tenant waits at most for what it has sent: one huge body must not lock it out for days.
local MOST_S = 60
local rates = {tonumber(ARGV[1]), tonumber(ARGV[2])}
local time = redis.call("TIME")
local now = time[1] * 1000 + time[2] / 1000
local held = redis.call("HMGET", KEYS[1], "at", "requests", "bytes")
local passed = math.max(0, now - (tonumber(held[1]) or 0)) / 1000
local left = {}
for index, rate in ipairs(rates) do
  local most = math.max(1, rate)
  left[index] = math.min(most, math.max(tonumber(held[index + 1]) or most, -MOST_S * rate) + passed * rate)
end
if ARGV[4] ~= "1" then
  if rates[1] > 0 and left[1] < 1 then return {math.ceil((1 - left[1]) / rates[1] * 1000), "requests"} end
  -- A body may be larger than a second's worth: what it is too large by is waited for afterwards.
  if rates[2] > 0 and left[2] <= 0 then return {math.ceil((1 - left[2]) / rates[2] * 1000), "bytes"} end
  left[1] = left[1] - 1
end
left[2] = math.max(left[2] - tonumber(ARGV[3]), -MOST_S * rates[2])
redis.call("HSET", KEYS[1], "at", string.format("%.3f", now), "requests", string.format("%.6f", left[1]), "bytes",
  string.format("%.3f", left[2]))
-- Once it would be full again it need not be known.
local debt_s = rates[2] > 0 and math.max(0, -left[2]) / rates[2] or 0
redis.call("PEXPIRE", KEYS[1], string.format("%.0f", 2000 + math.ceil(debt_s * 1000)))
return {0, ""}
