-- One API key takes over from another, unless that has changed meanwhile.
-- KEYS: the hash of keys. ARGV: field and text of the old one, its new text, field and text of the successor.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3], ARGV[4], ARGV[5])
return 1
