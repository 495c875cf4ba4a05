-- settle: what a member of the due set stood for is done; one that was scheduled anew meanwhile stays.
-- KEYS due
-- ARGV member, score it was found with
if tonumber(redis.call("ZSCORE", KEYS[1], ARGV[1])) == tonumber(ARGV[2]) then
  return redis.call("ZREM", KEYS[1], ARGV[1])
end
return 0
