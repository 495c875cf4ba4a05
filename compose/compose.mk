# Included by the Makefile: the farm in containers.
COMPOSE := docker compose --file compose/docker-compose.yml
SECRETS := compose/secrets
HEX := od -An -N24 -tx1 /dev/urandom | tr -d ' \n'

.PHONY: compose-up compose-down

# Made once; the servers keep these passwords in their volumes. The folder is closed to others; its files are not, since
# they reach the containers with the owner they have here, and are read there by other users.
$(SECRETS):
	@rm -rf $@.new && mkdir -m 700 -p $@.new && cd $@.new && umask 022 && \
	broker=$$($(HEX)) && store=$$($(HEX)) && objects=$$($(HEX)) && \
	echo "amqp://penstock:$$broker@rabbitmq:5672//" > broker_url && \
	printf 'default_user = penstock\ndefault_pass = %s\n' $$broker > rabbitmq.conf && \
	echo "redis://:$$store@valkey:6379/0" > redis_url && \
	echo "requirepass $$store" > valkey.conf && \
	echo "s3://penstock:$$objects@objects:8333/penstock?secure=false&public=none" > objects_url && \
	printf '{"identities": [{"name": "penstock", "credentials": [{"accessKey": "penstock", "secretKey": "%s"}], "actions": ["Admin", "Read", "List", "Tagging", "Write"]}]}\n' $$objects > seaweedfs.json && \
	: > signing_key
	@mv $@.new $@

compose-up: | $(SECRETS) ## Build the images and run the farm in containers
	@test -e $(SECRETS)/signing_key || (umask 022 && : > $(SECRETS)/signing_key)
	@$(COMPOSE) build
	@$(COMPOSE) up --detach --wait rabbitmq valkey objects
	@test -s $(SECRETS)/api_key || $(COMPOSE) run --rm --no-TTY operator key create --tenant default > $(SECRETS)/api_key
	@$(COMPOSE) up --detach
	@$(COMPOSE) up --detach --wait --no-deps gateway orchestrator worker-cpu
	@echo "Penstock at http://127.0.0.1:$${PENSTOCK_PORT:-8080}; an API key of tenant default is in $(SECRETS)/api_key"

compose-down: ## Stop the containers; data and secrets stay
	@$(COMPOSE) --profile gpu down
