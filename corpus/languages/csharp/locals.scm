; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(class_declaration name: (identifier) @scope.name body: (_)? @scope.body) @scope.class
(class_declaration (parameter_list) @scope.header) @scope.class
(class_declaration (base_list) @scope.header) @scope.class
(class_declaration (base_list . (_) @scope.base) (#not-match? @scope.base "^I[A-Z]")) @scope.class
(struct_declaration name: (identifier) @scope.name body: (_)? @scope.body) @scope.class
(struct_declaration (parameter_list) @scope.header) @scope.class
(struct_declaration (base_list) @scope.header) @scope.class
(record_declaration name: (identifier) @scope.name body: (_)? @scope.body) @scope.class
(record_declaration (parameter_list) @scope.header) @scope.class
(record_declaration (base_list) @scope.header) @scope.class
(record_declaration
  (base_list . [(identifier) (generic_name) (qualified_name)] @scope.base)
  (#not-match? @scope.base "^I[A-Z]")) @scope.class
(interface_declaration
  name: (identifier) @scope.name
  (base_list . (_) @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class
(enum_declaration name: (identifier) @scope.name body: (_) @scope.body) @scope.class

(method_declaration
  returns: (_) @scope.type
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_)? @scope.body) @scope.function
(local_function_statement
  type: (_) @scope.type
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_)? @scope.body) @scope.function
(constructor_declaration
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  body: (_)? @scope.body) @scope.function
(delegate_declaration type: (_) @scope.type name: (identifier) @scope.name parameters: (_) @scope.header) @scope.function
(operator_declaration type: (_) @scope.type parameters: (_) @scope.header body: (_) @scope.body) @scope.function
(indexer_declaration type: (_) @scope.type parameters: (_) @scope.header) @scope.function
(destructor_declaration body: (_) @scope.body) @scope.function
(property_declaration type: (_) @scope.type value: (arrow_expression_clause) @scope.body @scope.function)
(property_declaration
  type: (_) @scope.type
  accessors: (accessor_list (accessor_declaration "get" body: (_) @scope.body) @scope.function))
(accessor_declaration body: (_) @scope.body) @scope.function
(lambda_expression parameters: (_) @scope.header body: (_) @scope.body) @scope.function
(anonymous_method_expression parameters: (_)? @scope.header (block) @scope.body) @scope.function

; Blocks -------------------------------------------------------------------------------------------------------------
(block (block) @scope.block)
(if_statement consequence: (block) @scope.block)
(if_statement alternative: (block) @scope.block)
(while_statement body: (block) @scope.block)
(do_statement body: (block) @scope.block)
(try_statement body: (block) @scope.block)
(finally_clause (block) @scope.block)
(lock_statement (block) @scope.block)
(using_statement) @scope.block
(catch_clause) @scope.block
(for_statement) @scope.block
(foreach_statement) @scope.block
(switch_section) @scope.block
(switch_expression_arm) @scope.block
(query_expression) @scope.block

; Parameters ---------------------------------------------------------------------------------------------------------
(parameter type: (_)? @binding.type name: (identifier) @binding.parameter)
(parameter_list type: (_) @binding.type name: (identifier) @binding.parameter)
(implicit_parameter) @binding.parameter
(catch_declaration type: (_) @binding.type name: (identifier) @binding.parameter)
(type_parameter name: (identifier) @binding.variable)

; Variables ----------------------------------------------------------------------------------------------------------
(variable_declaration type: (_) @binding.type (variable_declarator name: (identifier) @binding.variable))
(variable_declaration (variable_declarator name: (identifier) @binding.variable . (_) @binding.value .))
(variable_declaration (variable_declarator (tuple_pattern name: (identifier) @binding.variable)))
(foreach_statement type: (_) @binding.type left: (identifier) @binding.variable right: (_) @binding.elements)
(foreach_statement left: (tuple_pattern name: (identifier) @binding.variable))
(declaration_pattern type: (_) @binding.type name: (identifier) @binding.variable)
(recursive_pattern type: (_)? @binding.type name: (identifier) @binding.variable)
(var_pattern name: (identifier) @binding.variable)
(declaration_expression type: (_) @binding.type name: (identifier) @binding.variable)
(from_clause type: (_)? @binding.type name: (identifier) @binding.variable)
(from_clause name: (identifier) @binding.variable . (_) @binding.elements .)
(join_clause . (identifier) @binding.variable)
(let_clause . (identifier) @binding.variable)

; Members of the class being written ---------------------------------------------------------------------------------
(property_declaration type: (_) @binding.type name: (identifier) @binding.variable)
(event_declaration type: (_) @binding.type name: (identifier) @binding.variable)
(enum_member_declaration name: (identifier) @binding.variable)
(enum_declaration
  name: (identifier) @binding.type
  body: (enum_member_declaration_list (enum_member_declaration name: (identifier) @binding.variable)))
(record_declaration
  (parameter_list (parameter type: (_) @binding.type name: (identifier) @binding.field)))

; What a condition says of a name ------------------------------------------------------------------------------------
(if_statement
  condition: (is_pattern_expression
    expression: (identifier) @binding.narrowed
    pattern: (constant_pattern (identifier) @binding.type))
  consequence: (_) @binding.region)
(binary_expression
  left: (is_pattern_expression
    expression: (identifier) @binding.narrowed
    pattern: (constant_pattern (identifier) @binding.type))
  operator: "&&"
  right: (_) @binding.region)

; Imports: a namespace has no name of its own in the file, so what is bound is its whole path ----------------------------
(using_directive !name [(identifier) (qualified_name)] @binding.import @import.module)
(using_directive name: (identifier) @binding.import [(qualified_name) (generic_name)] @import.module)
