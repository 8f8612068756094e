import { DEFAULT_PARTITION_COUNT } from '@collectivekv/update-queue';
import type { Plan } from './figure.js';
import { planNetwork } from './network-plan.js';
import type { PlanInput, PlannedBundle } from './plan-input.js';
import { planQueue } from './queue-plan.js';
import { planRecords } from './record-plan.js';
import { planRedis } from './redis-plan.js';
import type { ServiceCosts } from './service-costs.js';
import { planServices } from './service-plan.js';

/** Plans a deployment. Without `costs` the plan has no replicas of services, and Redis is sized by memory alone. */
export function makePlan(input: PlanInput, bundle: PlannedBundle, costs: ServiceCosts | undefined): Plan {
  const services = costs && planServices(input, costs);
  const records = planRecords(input, bundle);
  const queue = planQueue(input, bundle, services?.partitionCount ?? DEFAULT_PARTITION_COUNT);
  const redis = planRedis(input, { records, queue }, costs);
  const network = planNetwork(input, bundle, { records, queue });
  const unmeasured = 'replicas of services are not planned without measured figures: add --measure, or --measured FILE';
  return {
    sections: [records, queue, redis, ...(services ? [services] : []), { section: network }].map(
      ({ section }) => section,
    ),
    warnings: [...redis.warnings, ...(services ? services.warnings : [unmeasured])],
  };
}
