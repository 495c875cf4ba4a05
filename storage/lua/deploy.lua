-- deploy: replaces what an operator asked for a model, unless someone else changed it meanwhile.
-- KEYS deployments
-- ARGV model, its record as it was read ("" none), the new record
-- Returns 1, or 0 where the record is another by now
if (redis.call("HGET", KEYS[1], ARGV[1]) or "") ~= ARGV[2] then return 0 end
redis.call("HSET", KEYS[1], ARGV[1], ARGV[3])
return 1
